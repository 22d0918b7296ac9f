"""`outlive init` on applications of many frameworks: the app, its protocol, its routes."""

from __future__ import annotations

from pathlib import Path

import pytest

from measuring import CHECKOUT
from outlive.applications.guess import guess
from outlive.applications.settings import FILE, Read, read

WEBSOCKET = "WEBSOCKET"
FALCON = """
import falcon.asgi as web
from .things import Thing
def create_app():
    app = web.App()
    thing = Thing()
    app.add_route("/things/{id}", thing)
    app.add_route("/things/{id}/report", thing, suffix="report")
    app.add_route("/live", Live())
    return app
class Live:
    async def on_websocket(self, req, ws): ...
"""
THINGS = """
class Thing:
    async def on_get(self, req, resp, id): ...
    async def on_delete(self, req, resp, id): ...
    async def on_get_report(self, req, resp, id): ...
"""
BOTTLE = """
import bottle
from bottle import Bottle, route, post
@route("/old")
def old(): ...
admin = Bottle()
@admin.get("/stats/<name:re:[a-z]+>")
def stats(name): ...
app = bottle.default_app()
@app.route("/notes", method=["PUT", "DELETE"])
def notes(): ...
@post("/notes")
def note(): ...
app.mount("/admin/", admin)
"""
LITESTAR = """
from litestar import Controller, Litestar, Router, get, post, websocket
class Orders(Controller):
    path = "/orders"
    @get()
    async def every(self): ...
    @post(["/", "/new"])
    async def add(self, data): ...
    @get("{number:int}")
    async def one(self, number): ...
@get("/")
async def index(): ...
@websocket("/ws")
async def live(socket): ...
v1 = Router(path="/v1", route_handlers=[Orders])
api = Router(path="/api", route_handlers=[v1])
app = Litestar(route_handlers=[index, live, api])
"""
AIOHTTP = """
from aiohttp import web
from shop.admin import make_admin
async def socket(request):
    ws = web.WebSocketResponse()
    return ws
routes = web.RouteTableDef()
@routes.view("/things")
class Things(web.View):
    async def post(self): ...
async def fetch(session):
    await session.get("/of/another/service")
def make_shop():
    app = web.Application()
    app.router.add_get("/ws", socket)
    app.add_routes([web.put("/one", one)])
    app.add_routes(routes)
    app.add_subapp("/admin/", make_admin())
    return app
"""
ADMIN = """
from aiohttp import web
def make_admin():
    app = web.Application()
    app.router.add_route("DELETE", "/jobs/{name}", job)
    return app
"""
STARLETTE = """
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.routing import Mount, Route, WebSocketRoute
class Items(HTTPEndpoint):
    async def get(self, request): ...
    async def delete(self, request): ...
items = [Route("/items", Items), Route("/items/{id:int}", item, methods=["PATCH"])]
application = Starlette(
    routes=[
        Route("/", home),
        Mount("/v1", routes=items),
        Mount("/static", app=StaticFiles(directory="static")),
        Mount("/v2", routes=[Mount("/deep", routes=[Route("/er", home)]), WebSocketRoute("/ws", live)]),
    ]
)
"""
FLASK = """
from flask import Blueprint, Flask as Web
from flask.views import MethodView
from flask_sock import Sock
class Books(MethodView):
    def get(self): ...
    def put(self): ...
inner = Blueprint("inner", __name__, url_prefix="/replaced")
outer = Blueprint("outer", __name__, url_prefix="/outer")
@inner.get("/x")
def x(): ...
outer.register_blueprint(inner, url_prefix="/inner")
app = Web(__name__)
sock = Sock(app)
@sock.route("/echo")
def echo(ws): ...
app.add_url_rule("/books", view_func=Books.as_view("books"))
app.register_blueprint(outer)
"""
DJANGO = """
from django.urls import include, path, re_path
from rest_framework import routers
from shop import views
router = routers.DefaultRouter()
router.register(r"products", views.Products)
router.register("carts", views.Carts, basename="cart")
bare = routers.SimpleRouter(trailing_slash=False)
bare.register("notes", views.Notes)
urlpatterns = [
    path("", views.home),
    path("only/", views.only),
    path("form/", views.Form.as_view()),
    path("api/", include(router.urls)),
    path("v2/", include((bare.urls, "v2"), namespace="v2")),
    re_path(r"^archive/(?P<year>[0-9]{4})/$", views.archive),
    path("more/", include([path("deep/", views.only)])),
]
"""
VIEWS = """
from django.views.decorators.http import require_POST
from rest_framework import mixins, viewsets
class Products(viewsets.ReadOnlyModelViewSet): ...
class Carts(viewsets.ViewSet):
    def create(self, request): ...
class Notes(mixins.DestroyModelMixin, viewsets.GenericViewSet): ...
class Form(View):
    def post(self, request): ...
def home(request): ...
@require_POST
def only(request): ...
def archive(request, year): ...
"""
WSGI = """
import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = get_wsgi_application()
"""


def initiated(folder: Path, files: dict[str, str]) -> Read:
    """Return the first settings for an application of these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / FILE).write_text(guess(folder, CHECKOUT).text)
    return read(folder, CHECKOUT)


@pytest.mark.parametrize(
    ("files", "target", "protocol", "packages", "routes"),
    [
        (
            {"shop/main.py": FALCON, "shop/things.py": THINGS},
            "shop.main:create_app()",
            "asgi",
            "falcon",
            {"GET /", "GET /things/1", "DELETE /things/1", "GET /things/1/report", "WEBSOCKET /live"},
        ),
        (
            {"app.py": "from falcon import App\napi = App()\n"},
            "app:api",
            "wsgi",
            "falcon",
            {"GET /"},
        ),
        (
            {"app.py": BOTTLE},
            "app:app",
            "wsgi",
            "bottle",
            {"GET /old", "GET /admin/stats/1", "PUT /notes", "DELETE /notes", "POST /notes"},
        ),
        (
            {"app.py": LITESTAR},
            "app:app",
            "asgi",
            "litestar",
            {
                "GET /",
                "WEBSOCKET /ws",
                "GET /api/v1/orders/",
                "POST /api/v1/orders/",
                "POST /api/v1/orders/new",
                "GET /api/v1/orders/1",
            },
        ),
        (
            {"shop/app.py": AIOHTTP, "shop/admin.py": ADMIN},
            "shop.app:make_shop()",
            "aiohttp",
            "aiohttp",
            {"WEBSOCKET /ws", "PUT /one", "POST /things", "DELETE /admin/jobs/1", "GET /"},
        ),
        (
            {"app.py": STARLETTE},
            "app:application",
            "asgi",
            "starlette",
            {
                "GET /",
                "GET /v1/items",
                "DELETE /v1/items",
                "PATCH /v1/items/1",
                "GET /v2/deep/er",
                "WEBSOCKET /v2/ws",
            },
        ),
        (
            {"app.py": FLASK},
            "app:app",
            "wsgi",
            "flask",
            {"GET /books", "PUT /books", "GET /outer/inner/x"},
        ),
        (
            {
                "shop/wsgi.py": WSGI,
                "shop/settings.py": "ROOT_URLCONF = 'shop.urls'\n",
                "shop/urls.py": DJANGO,
                "shop/views.py": VIEWS,
            },
            "shop.wsgi:application",
            "wsgi",
            "django",
            {
                "GET /",
                "POST /only/",
                "POST /form/",
                "GET /api/products/",
                "GET /api/products/1/",
                "POST /api/carts/",
                "DELETE /v2/notes/1",
                "GET /archive/1/",
                "POST /more/deep/",
            },
        ),
    ],
)
def test_each_framework_has_its_app_and_its_routes(
    *, tmp_path: Path, files: dict[str, str], target: str, protocol: str, packages: str, routes: set[str]
) -> None:
    found = initiated(tmp_path, files)
    settings = found.settings
    assert (settings.target, settings.protocol, settings.packages) == (target, protocol, (packages,))
    asked = {
        f"{WEBSOCKET if '101 close' in scenario.expect else scenario.request.method} {scenario.request.path}"
        for scenario in found.scenarios
        if scenario.name not in {"not-found", "method-not-allowed"}
    }
    assert asked == routes


def test_a_view_that_answers_every_method_refuses_none(tmp_path: Path) -> None:
    files = {"shop/wsgi.py": WSGI, "shop/settings.py": "U = 'shop.urls'\n"}
    urls = "from django.urls import path\nfrom shop import views\nurlpatterns = [path('', views.home)]\n"
    found = initiated(tmp_path, files | {"shop/urls.py": urls, "shop/views.py": "def home(request): ...\n"})
    assert [scenario.name for scenario in found.scenarios] == ["ok", "not-found"]


def test_a_plain_success_is_asked_of_the_health_page_with_or_without_a_slash(tmp_path: Path) -> None:
    code = "from flask import Flask\napp = Flask(__name__)\n"
    code += "".join(
        f"@app.get({path!r})\ndef view{at}(): ...\n" for at, path in enumerate(("/a", "/health/"))
    )
    ok = initiated(tmp_path, {"app.py": code}).scenarios[0]
    assert (ok.name, ok.request.path) == ("ok", "/health/")


def test_a_websocket_is_left_out_where_the_protocol_has_none(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FLASK)
    assert "  left out: /echo, which opens a WebSocket" in guess(tmp_path, CHECKOUT).notes


def test_an_app_that_another_mounts_is_not_the_app(tmp_path: Path) -> None:
    code = "from fastapi import FastAPI\nadmin = FastAPI()\nmain = FastAPI()\nmain.mount('/admin', admin)\n"
    assert initiated(tmp_path, {"app.py": code}).settings.target == "app:main"
