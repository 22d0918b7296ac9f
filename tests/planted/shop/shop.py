"""A service of our own: a database session, a background task, a middleware and a login."""

import os
import queue
import sqlite3
import threading

import shop_session
from flask import Flask, abort, g, jsonify, request, session

DATABASE = "shop.db"
work = queue.Queue()


def background():
    while True:
        work.get()()


class Stamp:
    """A middleware."""

    def __init__(self, wsgi):
        self.wsgi = wsgi

    def __call__(self, environ, start_response):
        environ["shop.stamp"] = "stamp"
        return self.wsgi(environ, start_response)


def create_app():
    app = Flask(__name__)
    app.secret_key = os.environ["SHOP_KEY"]
    app.wsgi_app = Stamp(app.wsgi_app)
    started = []

    @app.before_request
    def begin():
        if not started:  # in the worker: a thread does not outlive a fork
            started.append(True)
            threading.Thread(target=background, daemon=True).start()
        g.session = shop_session.Session(DATABASE)

    @app.teardown_request
    def end(error):
        g.pop("session").close(error)

    @app.get("/")
    def index():
        return "shop"

    @app.post("/login")
    def login():
        if request.get_json()["password"] != os.environ["SHOP_PASSWORD"]:
            abort(403)
        session["user"] = "sara"
        return jsonify(token="none")

    @app.get("/orders")
    def orders():
        if "user" not in session:
            abort(401)
        work.put(str)
        return jsonify(g.session.rows("SELECT name FROM orders"))

    @app.get("/fail")
    def fail():
        raise ValueError(g.session.rows("SELECT name FROM orders"))

    return app


if __name__ == "__main__":
    with sqlite3.connect(DATABASE) as db:
        db.execute("CREATE TABLE orders (name TEXT)")
        db.execute("INSERT INTO orders VALUES ('widget')")
