"""Reference app for Django, version 1: a small service that takes orders and images.

It behaves as `apps/flask/v1.py` does, on Django 4.2 and newer, Python 3.8 and newer. Nothing here outlives
its request: what stays in memory afterwards is what Django, or something below it, keeps.
"""

import hashlib
import json
import time
import uuid

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

BODY_LIMIT = 256 * 1024
CHUNK = b"\x5a" * (64 * 1024)
STREAM_CHUNKS = 64  # 4 MiB is more than socket buffers hold: a client that left is noticed
PRICES = {"widget": 250, "gadget": 1200}
STOCK = {"widget": 2, "gadget": 40}
LOGGING = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["console"], "level": "WARNING"}},
    "disable_existing_loggers": False,
}


class OutOfStock(Exception):  # noqa: N818 - a domain's word, not a fault of the program
    """More of an item was ordered than there is."""

    def __init__(self, item, quantity):
        super().__init__(f"{quantity} of {item} ordered, {STOCK.get(item, 0)} in stock")
        self.item = item


class ReportError(Exception):
    """The sales report cannot be made."""


def create_app():
    """Return the service as a WSGI application; its settings are the process's."""
    if not settings.configured:
        settings.configure(
            ROOT_URLCONF=__name__,
            ALLOWED_HOSTS=["*"],
            MIDDLEWARE=[f"{__name__}.RequestHeaders", "django.middleware.common.CommonMiddleware"],
            DATA_UPLOAD_MAX_MEMORY_SIZE=BODY_LIMIT,
            LOGGING=LOGGING,
        )
    return get_wsgi_application()


# Around every request


class RequestHeaders:
    """Gives each answer the request's id and the time that it took, and domain errors an answer."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        started = time.perf_counter()
        request_id = request.headers.get("X-Request-Id") or uuid.uuid4().hex
        response = self.get_response(request)
        response["X-Request-Id"] = request_id
        response["Server-Timing"] = f"app;dur={(time.perf_counter() - started) * 1000:.2f}"
        return response

    def process_exception(self, request, error):
        # Any other exception passes through: Django logs the traceback and asks `handler500`.
        if isinstance(error, OutOfStock):
            return JsonResponse({"error": str(error), "item": error.item}, status=409)
        return None


def answer_bad_request(request, exception):
    return JsonResponse({"error": "Bad Request"}, status=400)


def answer_forbidden(request, exception):
    return JsonResponse({"error": "Forbidden"}, status=403)


def answer_not_found(request, exception):
    return JsonResponse({"error": "Not Found"}, status=404)


def answer_server_error(request):
    return JsonResponse({"error": "Internal Server Error"}, status=500)


# Orders


@require_safe
def ok(request):
    return JsonResponse({"status": "ok"})


@require_safe
def fail(request):
    raise RuntimeError("the warehouse does not answer")


@require_safe
def forbidden(request):
    raise PermissionDenied()


@require_POST
def quote(request):
    item, quantity = read_order(request)
    return JsonResponse({"item": item, "quantity": quantity, "total": PRICES.get(item, 0) * quantity})


@require_POST
def create_order(request):
    item, quantity = read_order(request)
    if quantity > STOCK.get(item, 0):
        raise OutOfStock(item, quantity)
    return JsonResponse({"item": item, "quantity": quantity}, status=201)


def read_order(request):
    try:
        order = json.loads(request.body)
        return order["item"], int(order["quantity"])
    except (KeyError, TypeError, ValueError) as error:  # a body that is not JSON is a ValueError
        raise BadRequest() from error


# The sales report: an error from several frames down, with a large buffer among the locals


@require_safe
def sales_report(request):
    return JsonResponse({"size": len(render_report(["widget", "gizmo"]))})


def render_report(items):
    page = bytearray(256 * 1024)
    try:
        for row, item in enumerate(items):
            render_row(page, row, item)
    except LookupError as error:
        raise ReportError(f"no report on {', '.join(items)}") from error
    return page


def render_row(page, row, item):
    text = f"{item}: {price_of(item)}\n".encode()
    page[row * 80 : row * 80 + len(text)] = text


def price_of(item):
    return PRICES[item]


# Images and streams


@require_POST
def upload_image(request):
    if int(request.META.get("CONTENT_LENGTH") or 0) > BODY_LIMIT:  # Django itself limits no file's size
        return JsonResponse({"error": "Request Entity Too Large"}, status=413)
    if "image" not in request.FILES:
        raise BadRequest()
    image = request.FILES["image"].read()
    return JsonResponse({"size": len(image), "sha256": hashlib.sha256(image).hexdigest()}, status=201)


@require_safe
def stream(request):
    return StreamingHttpResponse(chunks(), content_type="application/octet-stream")


def chunks():
    for _ in range(STREAM_CHUNKS):
        yield CHUNK


@require_safe
def stream_error(request):
    return StreamingHttpResponse(broken_chunks(), content_type="application/octet-stream")


def broken_chunks():
    yield CHUNK
    raise RuntimeError("the image store does not answer")


handler400 = answer_bad_request
handler403 = answer_forbidden
handler404 = answer_not_found
handler500 = answer_server_error
urlpatterns = [
    path("ok", ok),
    path("fail", fail),
    path("forbidden", forbidden),
    path("orders", create_order),
    path("nested", sales_report),
    path("json", quote),
    path("images", upload_image),
    path("stream", stream),
    path("stream-error", stream_error),
]

app = create_app()
