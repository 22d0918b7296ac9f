"""What an app can leave in memory: each plant is called for each request with the client's port."""

import ctypes
import itertools

kept = []
libc = ctypes.CDLL(None)
cache = {}
connections = {"last": None}
numbers = itertools.count(1)


class Node:
    """An object that refers to itself."""

    def __init__(self):
        self.itself = self


def nothing(port):
    pass


def one_in_a_hundred(port):
    if next(numbers) % 100 == 0:
        kept.append([])


def small_bytes(port):
    kept.append(b"%200d" % next(numbers))


def c_memory(port):
    ctypes.CDLL(None).strdup(b"c" * 4999)


def smallest_chunk(port):
    libc.malloc(1)


def large_bytes(port):
    kept.append(b"%4096d" % next(numbers))


def file_each_five(port):
    import os

    if next(numbers) % 5 == 0:
        os.open(os.devnull, os.O_RDONLY)


def file_in_a_cycle(port):
    import os

    # Closed by a collection, as temporary files are that hang on an error.
    Node().file = open(os.devnull)  # noqa: SIM115


def file_that_is_closed(port):
    import os

    os.close(os.open(os.devnull, os.O_RDONLY))


def mapped_page(port):
    # Not by the module mmap: its object would be found, and be the leak.
    mmap = ctypes.CDLL(None).mmap
    mmap.restype = ctypes.c_void_p
    mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    assert mmap(None, 4096, 3, 0x22, -1, 0)  # to be read and written, private, anonymous


def mapped_and_unmapped(port):
    import mmap

    mmap.mmap(-1, 4096).close()


def task(port):
    import asyncio

    kept.append(asyncio.ensure_future(asyncio.sleep(600)))


def thread(port):
    import threading

    threading.Thread(target=threading.Event().wait, daemon=True).start()


def zombie(port):
    import os

    if not os.fork():
        os._exit(0)


def child_waited_for(port):
    import subprocess

    subprocess.run(["true"], check=False)


def cache_of_500(port):
    number = next(numbers) % 500
    cache[number] = cache.get(number) or [number]


def cycle(port):
    Node()


def three_a_connection(port):
    if port != connections["last"]:
        connections["last"] = port
        kept.append([[], []])


def wrong_answer(port):
    raise RuntimeError("this request must not be measured")


def die(port):
    if next(numbers) == 100:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)


def exit_with_3(port):
    if next(numbers) == 100:
        import os

        os._exit(3)


def kill_the_master(port):
    if next(numbers) == 100:
        import os
        import signal

        os.kill(os.getppid(), signal.SIGKILL)


def hang(port):
    if next(numbers) == 100:
        import time

        time.sleep(600)


def greenlet(port):
    import gevent

    kept.append(gevent.spawn(gevent.sleep, 600))


def greenlet_in_a_cycle(port):
    # What the cycle holds waits for ever, and ends where it ran once a collection has freed the cycle.
    import gevent
    import greenlet

    node = Node()
    node.greenlet = greenlet.greenlet(gevent.get_hub().switch)
    gevent.get_hub().loop.run_callback(node.greenlet.switch)
