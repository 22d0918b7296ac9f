"""Reference app for Flask: a web site with parts of the framework that the main reference app does not use.

It is several Flask applications, told apart by the first part of the path, because settings such as
PROPAGATE_EXCEPTIONS hold for a whole one. It runs on Flask 1.1.4 and newer, Python 3.8 and newer. Where a
route is also in `apps/aiohttp/site_v1.py`, it behaves as there.
"""

import importlib.util
import pathlib
import tempfile

import flask
from flask import Blueprint, Flask, Response, abort, jsonify, redirect, request, stream_with_context
from jinja2 import DictLoader
from werkzeug.debug import DebuggedApplication

BODY_LIMIT = 256 * 1024
CHUNK = b"\x5a" * (64 * 1024)
STREAM_CHUNKS = 64  # 4 MiB is more than socket buffers hold: a client that reads slowly is noticed
TEMPLATES = {
    "page.html": "{% extends 'layout.html' %}{% block main %}{{ name }}{% endblock %}",
    "layout.html": "<title>shop</title>{% block main %}{% endblock %}",
    "broken.html": "{% extends 'layout.html' %}{% block main %}{{ orders.total.value }}{% endblock %}",
    "syntax.html": "{% if %}",
}


class OrderError(Exception):
    """An order cannot be taken."""


class TokenError(Exception):
    """Nobody is logged in."""


NO_TOKEN = TokenError("no token")  # one for all requests, as code often has it: its traceback grows with each


def files():
    """Return a folder with one file; it stays as long as this process' temporary folder."""
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "page.html").write_bytes(b"<p>hello</p>\n" * 100)
    return str(folder)


def make_app(**settings):
    """Return a Flask application with the pages that all have, and `settings`."""
    app = Flask(__name__, static_folder=STATIC, static_url_path="/static")
    app.config["SECRET_KEY"] = b"a reference app has no secrets"
    app.config.update(settings)
    app.add_url_rule("/ok", view_func=ok)
    app.add_url_rule("/fail", view_func=fail)
    app.add_url_rule("/images", view_func=upload_image, methods=["POST"])
    app.add_url_rule("/forms", view_func=read_form, methods=["POST"])
    app.add_url_rule("/json", view_func=read_json, methods=["POST"])
    return app


# Pages


def ok():
    return jsonify(status="ok")


def fail():
    raise RuntimeError("the warehouse does not answer")


def forbidden():
    abort(403)


def no_content():
    return "", 204


def login():
    abort(redirect("/ok"))  # as a decorator does that finds nobody logged in


def account():
    try:
        return user()
    except TokenError as error:
        return jsonify(error=str(error)), 401


def user():
    raise NO_TOKEN


def page(name):
    return name


def cookies():
    response = Response(" ".join(sorted(request.cookies)))
    response.set_cookie("visits", str(len(request.cookies)), httponly=True)
    response.delete_cookie("old")
    return response


def nested_abort():
    return check_all(["widget", "gizmo"])


def check_all(items):
    return jsonify([check(item) for item in items])


def check(item):
    if item == "gizmo":
        abort(409)
    return item


# Bodies


def upload_image():
    return jsonify(size=len(request.files["image"].read())), 201


def keep_upload_open():
    # Larger than what Werkzeug keeps in memory, so it is a file; it is neither read nor closed.
    return jsonify(name=request.files["image"].filename), 201


def read_form():
    return jsonify(missing=request.form["missing"])


def read_json():
    return jsonify(request.get_json())


def stream():
    return Response(chunks(), mimetype="application/octet-stream")


def chunks():
    for _ in range(STREAM_CHUNKS):
        yield CHUNK


def stream_context():
    return Response(stream_with_context(lines()), mimetype="text/plain")


def lines():
    for _ in range(STREAM_CHUNKS):
        yield request.path.encode() + CHUNK
        if "fail" in request.args:
            raise RuntimeError("the warehouse does not answer")


# Sessions and templates


def visit():
    flask.session["visits"] = flask.session.get("visits", 0) + 1
    return jsonify(visits=flask.session["visits"])


def flashed():
    flask.flash("saved")
    return jsonify(flask.get_flashed_messages())


def template(name):
    return flask.render_template(name, name="widget")


# What each application is about


def site():
    app = make_app(MAX_CONTENT_LENGTH=BODY_LIMIT)
    app.jinja_loader = DictLoader(TEMPLATES)
    app.add_url_rule("/forbidden", view_func=forbidden)
    app.add_url_rule("/no-content", view_func=no_content)
    app.add_url_rule("/login", view_func=login)
    app.add_url_rule("/account", view_func=account)
    app.add_url_rule("/pages/<name>", view_func=page)
    app.add_url_rule("/cookies", view_func=cookies)
    app.add_url_rule("/nested-abort", view_func=nested_abort)
    app.add_url_rule("/stream", view_func=stream)
    app.add_url_rule("/stream-context", view_func=stream_context)
    app.add_url_rule("/visit", view_func=visit)
    app.add_url_rule("/flashed", view_func=flashed)
    app.add_url_rule("/templates/<name>", view_func=template)
    app.add_url_rule("/factory", view_func=factory)
    app.add_url_rule("/factory-fail", view_func=factory_fail)
    app.add_url_rule("/test-client", view_func=use_test_client)
    app.add_url_rule("/test-client-fail", view_func=use_test_client_fail)
    return app


def blueprints():
    app = make_app()
    shop = Blueprint("shop", __name__)
    shop.add_url_rule("/fail", "fail", view_func=fail)
    shop.add_url_rule("/order", "order", view_func=refuse_order)
    shop.add_url_rule("/nested-abort", "nested_abort", view_func=nested_abort)
    shop.register_error_handler(OrderError, answer_order_error)
    shop.register_error_handler(409, answer_conflict)
    app.register_blueprint(shop, url_prefix="/shop")
    return app


def refuse_order():
    raise OrderError("sold out")


def answer_order_error(error):
    return jsonify(error=str(error)), 409


def answer_conflict(error):
    return jsonify(error=error.name), 409


def hooks(kind):
    app = make_app()
    getattr(app, kind)(broken_hook)
    return app


def broken_hook(*_):
    if request.path == "/hook":
        raise RuntimeError("the audit log does not answer")


def catching():
    app = make_app()
    app.register_error_handler(Exception, answer_anything)
    return app


def answer_anything(error):
    return jsonify(error=type(error).__name__), getattr(error, "code", 500)


def listening():
    app = make_app()
    if importlib.util.find_spec("blinker"):  # before Flask 2.3 there need not be signals
        flask.request_started.connect(note, app)
        flask.got_request_exception.connect(note, app)
        flask.request_tearing_down.connect(note, app)
    return app


def note(sender, **details):
    sender.config["NOTED"] = sorted(details)


def awaiting():
    app = make_app()
    app.add_url_rule("/async", view_func=async_ok)
    app.add_url_rule("/async-fail", view_func=async_fail)
    return app


async def async_ok():
    return jsonify(status="ok")


async def async_fail():
    raise RuntimeError("the warehouse does not answer")


def large_uploads():
    app = make_app()
    app.add_url_rule("/keep-open", view_func=keep_upload_open, methods=["POST"])
    return app


def debugger():
    return DebuggedApplication(make_app(DEBUG=True), evalex=True, pin_security=False)


# An application that is made and dropped within a request, and the test client


def factory():
    made = make_app()
    return jsonify(routes=len(made.url_map._rules))


def factory_fail():
    return jsonify(status=make_app().test_client().get("/fail").status_code)


def use_test_client():
    return jsonify(status=TESTED.test_client().get("/ok").status_code)


def use_test_client_fail():
    return jsonify(status=TESTED.test_client().get("/fail").status_code)


def dispatch(environ, start_response):
    """Serve the application that the first part of the path names, or the site."""
    first, slash, rest = environ["PATH_INFO"].lstrip("/").partition("/")
    app = APPS.get(first) if slash else None
    if app is None:
        return SITE(environ, start_response)
    environ["PATH_INFO"] = "/" + rest
    environ["SCRIPT_NAME"] += "/" + first
    return app(environ, start_response)


def create_app():
    """Return the site alone, from which a reproducer is cut."""
    return site()


STATIC = files()
SITE = create_app()
TESTED = make_app()
APPS = {
    "blueprints": blueprints(),
    "before": hooks("before_request"),
    "after": hooks("after_request"),
    "teardown": hooks("teardown_request"),
    "catching": catching(),
    "listening": listening(),
    "trap-http": make_app(TRAP_HTTP_EXCEPTIONS=True),
    "trap-bad-request": make_app(TRAP_BAD_REQUEST_ERRORS=True),
    "propagate": make_app(PROPAGATE_EXCEPTIONS=True),
    "debug": make_app(DEBUG=True),
    "testing": make_app(TESTING=True),
    "debugger": debugger(),
    "async": awaiting(),
    "uploads": large_uploads(),
}
app = dispatch
app.apps = tuple(one for one in (SITE, *APPS.values()) if isinstance(one, Flask))  # for practices
