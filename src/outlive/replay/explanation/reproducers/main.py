"""Sends requests and says what they leave."""

import collections
import gc
import time


def main():
    with serve(create_app()) as address:
        send(address, 30)  # lazy imports, caches
        gc.collect()
        gc.disable()
        gc.freeze()
        send(address, 100)
        time.sleep(0.5)
        left = gc.get_objects()
        types = collections.Counter(f"{type(obj).__module__}.{type(obj).__qualname__}" for obj in left)
        count = len(left)
        del left
        freed = gc.collect()
        print(f"{count} objects are left of 100 requests; a full collection frees {freed}. Most of them:")
        for name, objects in types.most_common(10):
            print(f"{objects:6} {name}")


if __name__ == "__main__":
    main()
