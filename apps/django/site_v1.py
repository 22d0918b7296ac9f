"""Reference app for Django: a web site as the framework serves it, with the middlewares of a new project.

It runs on Django 4.2 and newer. Its routes are also in `apps/flask/site_v1.py`, and behave as there.
"""

import functools
import json
import pathlib
import tempfile

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe
from django.views.static import serve

SECRET_KEY = "a reference app has no secrets"  # noqa: S105
CHUNK = b"\x5a" * (64 * 1024)
STREAM_CHUNKS = 64  # 4 MiB is more than socket buffers hold: a client that reads slowly is noticed
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
LOGGING = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["console"], "level": "WARNING"}},
    "disable_existing_loggers": False,
}


class TokenError(Exception):
    """Nobody is logged in."""


NO_TOKEN = TokenError("no token")  # one for all requests, as code often has it: its traceback grows with each


def create_app():
    """Return the site as a WSGI application; its settings are the process's."""
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__,
            ALLOWED_HOSTS=["*"],
            SECRET_KEY=SECRET_KEY,
            MIDDLEWARE=MIDDLEWARE,
            SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
            TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
            LOGGING=LOGGING,
        )
    return get_wsgi_application()


def files():
    """Return a folder with one file; it stays as long as this process' temporary folder."""
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "page.html").write_bytes(b"<p>hello</p>\n" * 100)
    return str(folder)


# Pages


@csrf_exempt
@require_safe
def ok(request):
    return JsonResponse({"status": "ok"})


@require_safe
def fail(request):
    raise RuntimeError("the warehouse does not answer")


@require_safe
def forbidden(request):
    raise PermissionDenied()


@require_safe
def no_content(request):
    return HttpResponse(status=204)


def logged_in(view):
    @functools.wraps(view)
    def checked(request):
        return redirect("/ok")  # Django's own decorators return it, too: nothing is raised

    return checked


@require_safe
@logged_in
def login(request):
    return ok(request)


@require_safe
def account(request):
    try:
        return user(request)
    except TokenError as error:
        return JsonResponse({"error": str(error)}, status=401)


def user(request):
    raise NO_TOKEN


@require_safe
def page(request, name):
    return HttpResponse(name)


@require_safe
def cookies(request):
    response = HttpResponse(" ".join(sorted(request.COOKIES)))
    response.set_cookie("visits", str(len(request.COOKIES)), httponly=True)
    response.delete_cookie("old")
    return response


# Bodies


@csrf_exempt
@require_POST
def upload_image(request):
    if "image" not in request.FILES:
        raise BadRequest()
    return JsonResponse({"size": len(request.FILES["image"].read())}, status=201)


@csrf_exempt
@require_POST
def read_json(request):
    try:
        return JsonResponse(json.loads(request.body))
    except ValueError as error:
        raise BadRequest() from error


@require_safe
def stream(request):
    return StreamingHttpResponse(chunks(), content_type="application/octet-stream")


def chunks():
    for _ in range(STREAM_CHUNKS):
        yield CHUNK


urlpatterns = [
    path("ok", ok),
    path("fail", fail),
    path("forbidden", forbidden),
    path("no-content", no_content),
    path("login", login),
    path("account", account),
    path("images", upload_image),
    path("uploads/images", upload_image),
    path("json", read_json),
    path("stream", stream),
    path("pages/<name>", page),
    path("cookies", cookies),
    path("static/<path:path>", serve, {"document_root": files()}),
]

app = create_app()
