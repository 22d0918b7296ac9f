"""Peak memory as asv itself measures it: the app is driven in the benchmark's process, without a server.

A WSGI app is called directly; other apps are driven by `apps/<framework>/in_process.py`.
"""

import gc
import importlib.util
import io
import logging
import os
import sys
from wsgiref.util import setup_testing_defaults

from ._harness import APP_VERSIONS, APPS, FRAMEWORK

REQUESTS = 500
SCENARIOS = {"ok": ("/ok", 200), "not-found": ("/no-such-page", 404), "handler-error": ("/fail", 500)}


def _driven(framework):
    """Return a class with the benchmark of one framework's app."""

    class Driven:
        params = (tuple(SCENARIOS), ("on", "off"))
        param_names = ("scenario", "gc")

        def setup(self, *_):
            """Skip another framework's releases."""
            if framework != FRAMEWORK:
                raise NotImplementedError(framework)

        def peakmem_requests(self, scenario, policy):
            """Import the app and serve all requests: the peak of the process is the benchmark."""
            logging.basicConfig(filename=os.devnull)  # tracebacks are formatted, as in a real service
            if policy == "off":
                gc.disable()
            path, status = SCENARIOS[scenario]
            app = _load(framework, f"v{APP_VERSIONS[framework]}").app
            own = (APPS / framework / "in_process.py").is_file()
            drive = _load(framework, "in_process").drive if own else _by_wsgi
            statuses = drive(app, path, REQUESTS)
            if statuses != {status}:
                raise RuntimeError(f"answered {statuses} instead of {status}")

        peakmem_requests.framework = framework
        peakmem_requests.pretty_name = f"{framework}: peak memory without a server"
        peakmem_requests.version = f"app {APP_VERSIONS[framework]}"

    Driven.__name__ = framework.capitalize()
    return Driven


def _by_wsgi(app, path, requests):
    return {_status(app, path) for _ in range(requests)}


def _status(app, path):
    environ = {"PATH_INFO": path, "wsgi.errors": io.StringIO()}
    setup_testing_defaults(environ)
    answered = []
    body = app(environ, lambda status, *_: answered.append(int(status.split()[0])))
    try:
        b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    return answered[-1]


def _load(framework, name):
    spec = importlib.util.spec_from_file_location(name, APPS / framework / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


for _framework in APP_VERSIONS:
    globals()[_framework.capitalize()] = _driven(_framework)
