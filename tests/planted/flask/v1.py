"""The reference app for Flask with something planted in it: gunicorn's target is `v1:app("plant")`."""

import importlib.util
import pathlib

from flask import request

PLANTED = pathlib.Path(__file__).parents[1]


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def app(name):
    plant = getattr(load("plants", PLANTED / "plants.py"), name)
    planted = load("reference", PLANTED.parents[1] / "apps" / "flask" / "v1.py").create_app()
    planted.before_request(lambda: plant(request.environ["REMOTE_PORT"]))
    return planted
