"""The reference app for aiohttp with something planted in it: gunicorn's target is `v1:app("plant")`."""

import importlib.util
import pathlib

from aiohttp import web

PLANTED = pathlib.Path(__file__).parents[1]


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def app(name):
    plant = getattr(load("plants", PLANTED / "plants.py"), name)

    @web.middleware
    async def planting(request, handler):
        plant(request.transport.get_extra_info("peername")[1])
        return await handler(request)

    planted = load("reference", PLANTED.parents[1] / "apps" / "aiohttp" / "v1.py").create_app()
    planted.middlewares.append(planting)
    return planted
