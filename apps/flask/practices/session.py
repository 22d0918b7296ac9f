# /// script
# dependencies = ["flask-session", "cachelib"]
# ///
"""Flask-Session as its guide has it, in a cache of the process that holds 500 of them."""

from cachelib import SimpleCache
from flask import session as current
from flask_session import Session


def session(app):
    """Keep a session on the server's side; each request writes to it, and clients send no cookie back."""
    app.config.update(SESSION_TYPE="cachelib", SESSION_CACHELIB=SimpleCache(threshold=500))
    Session(app)

    @app.before_request
    def visit():
        current["visits"] = current.get("visits", 0) + 1
