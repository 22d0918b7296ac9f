"""Structures that outlive the call that makes them, each planted a few times and captured: one file each.

`python structures.py SOURCES FOLDER`: SOURCES is the folder of `capture.py` and what it needs, FOLDER takes a
`NAME.json` for each structure. Standard library only, Python 3.8 and newer, as in a server's worker.
"""

import asyncio
import contextlib
import contextvars
import ctypes
import functools
import gc
import importlib.util
import io
import itertools
import logging
import os
import sys
import threading
import weakref

TIMES = 5
planted = {}
held_tasks = []
never = threading.Lock()
never.acquire()
kept_globally = []
callbacks = []
numbers = itertools.count()
accounts = []
local = threading.local()
variable = contextvars.ContextVar("current_order")


def plant(function):
    planted[function.__name__] = function
    return function


class Order:
    pass


class Shop:
    __slots__ = ("__weakref__", "order")


class Finalized:
    def __del__(self):
        pass


class KeepingHandler(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)


logger = logging.getLogger("planted")
logger.propagate = False
logger.addHandler(KeepingHandler())
loop = asyncio.new_event_loop()


# Cyclic garbage


@plant
def attribute():
    parent, child = Order(), Order()
    parent.child = child
    child.parent = parent


@plant
def slot():
    shop, order = Shop(), Order()
    shop.order = order
    order.shop = shop


@plant
def dict_value():
    order = Order()
    order.index = {"self": order}


@plant
def list_item():
    order = Order()
    order.history = [None, order]


@plant
def closure_cell():
    def walk(depth):
        return walk(depth - 1) if depth else 0

    walk(2)


@plant
def frame_local():
    error = None
    try:
        raise ValueError("planted")
    except ValueError as caught:
        error = caught
    return error is None


@plant
def stored_exception():
    order = Order()
    try:
        fail(order)
    except ValueError as error:
        order.error = error


def fail(order):
    raise ValueError("planted")


@plant
def task():
    async def wait(state):
        await state.done

    async def main():
        state = Order()
        state.done = asyncio.get_running_loop().create_future()
        state.task = asyncio.ensure_future(wait(state))
        await asyncio.sleep(0)
        silent(state.task)

    loop.run_until_complete(main())


def silent(pending):
    pending._log_destroy_pending = False


@plant
def future_callback():
    order = Order()
    order.ready = loop.create_future()
    order.ready.add_done_callback(order_is_ready(order))


def order_is_ready(order):
    def callback(future):
        return order

    return callback


@plant
def context_variable():
    context = contextvars.copy_context()
    order = Order()
    order.context = context
    context.run(variable.set, order)


@plant
def partial():
    order = Order()
    order.cancel = functools.partial(fail, order)


@plant
def bound_method():
    order = Order()
    order.close = Method.close.__get__(order)


class Method:
    def close(self):
        pass


@plant
def generator():
    def lines(order):
        yield order

    order = Order()
    order.lines = lines(order)
    next(order.lines)


@plant
def async_generator():
    async def lines(order):
        yield order

    order = Order()
    order.lines = lines(order)
    run(order.lines.asend(None))


@plant
def coroutine():
    async def wait(order):
        await Once()

    order = Order()
    order.waiting = wait(order)
    order.waiting.send(None)


class Once:
    def __await__(self):
        yield


def run(awaitable):
    with contextlib.suppress(StopIteration):
        awaitable.send(None)


@plant
def weakref_callback():
    order = Order()
    target = order.target = Shop()
    order.watch = weakref.ref(target, lambda _: order)


@plant
def finalizer():
    one = Finalized()
    one.me = one


@plant
def nested_cycles():
    a, b, c = Order(), Order(), Order()
    a.next = b
    b.back = a
    b.further = c
    c.home = b


@plant
def class_cycle():
    class Local:
        pass

    Local()


# Leaks


@plant
def lru_cache():
    lookup(Order())


@functools.lru_cache(maxsize=None)
def lookup(order):
    return [order]


@plant
def attribute_of_a_global():
    company.orders.append(Order())


@plant
def class_attribute_of_an_object():
    Registry.office.orders.append(Order())


@plant
def logger_of_a_request():
    logging.getLogger(f"orders.{next(numbers)}")


@plant
def closure_in_a_tuple():
    order = Order()
    callbacks.append((id(order), lambda: order))


@plant
def module_global():
    kept_globally.append(Order())


class Account:
    def __init__(self):
        self.orders = [Order()]


@plant
def dict_of_an_object():
    account = Account()
    vars(account)["orders"] = account.orders  # Python 3.13.0 does not show such a dict to the collector
    accounts.append(account)


@plant
def class_attribute():
    Registry.orders[len(Registry.orders)] = Order()


class Registry:
    orders = {}
    office = Order()
    office.orders = []


@plant
def logging_handler():
    try:
        raise ValueError("planted")
    except ValueError:
        logger.error("it went wrong", exc_info=True)


@plant
def thread_local():
    if not hasattr(local, "orders"):
        local.orders = []
    local.orders.append(Order())


@plant
def thread():
    threading.Thread(target=serve, args=(Order(),), daemon=True).start()


def serve(order):
    never.acquire()


@plant
def thread_that_waits():
    threading.Thread(target=work, args=(Order(),), daemon=True).start()


def work(order):
    threading.Event().wait()


@plant
def thread_of_a_class():
    Clerk(daemon=True).start()


class Clerk(threading.Thread):
    def run(self):
        never.acquire()


@plant
def thread_of_a_partial():
    threading.Thread(target=functools.partial(serve, Order()), daemon=True).start()


@plant
def thread_of_a_builtin():
    threading.Thread(target=never.acquire, daemon=True).start()


@plant
def thread_that_ends():
    ended = threading.Thread(target=int, args=(Order.__name__, 36))
    ended.start()
    ended.join()


@plant
def timer():
    order = Order()
    order.expires = company.office.desk.timers.call_later(600, order.__repr__)


company = Order()
company.orders = []
company.office = Order()
company.office.desk = Order()
company.office.desk.timers = asyncio.new_event_loop()


@plant
def c_held():
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(Order()))


@plant
def without_traverse():
    code = nothing.__code__.replace(co_consts=(None, Order()))  # the collector is not told of a code object's
    kept_globally.append(code)


def nothing():
    pass


def load(folder, name):
    spec = importlib.util.spec_from_file_location("outlive_" + name, os.path.join(folder, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def collect():
    for _ in range(4):
        gc.collect()


def main():
    sources, folder = sys.argv[1:]
    objects, references, capture = (load(sources, name) for name in ("objects", "references", "capture"))
    sys.stderr = io.StringIO()  # pending tasks and futures complain when they are collected
    gc.disable()
    for name, function in planted.items():
        function()  # what the first call leaves that later ones do not
        collect()
        gc.freeze()
        for _ in range(TIMES):
            function()
        capture.capture(objects, references, collect).write(os.path.join(folder, name + ".json"), TIMES)
    sys.stderr = sys.__stderr__
    os._exit(0)


if __name__ == "__main__":
    main()
