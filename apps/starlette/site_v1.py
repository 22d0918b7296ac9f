"""Reference app for Starlette: a web site as the framework serves it, without middlewares of its own.

It runs on Starlette 1.0 and newer. Its routes are also in `apps/flask/site_v1.py`, and behave as there.
"""

import pathlib
import tempfile

from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

CHUNK = b"\x5a" * (64 * 1024)
STREAM_CHUNKS = 64  # 4 MiB is more than socket buffers hold: a client that reads slowly is noticed
NO_TOKEN = HTTPException(401, "no token")  # one for all requests, as code often has it
TO_LOGIN = {"Location": "/ok"}


def create_app():
    """Return the site as an application that is bound to no event loop yet: it survives a fork."""
    return Starlette(
        routes=[
            Route("/ok", ok),
            Route("/fail", fail),
            Route("/forbidden", forbidden),
            Route("/no-content", no_content),
            Route("/login", login),
            Route("/account", account),
            Route("/images", upload_image, methods=["POST"]),
            Route("/uploads/images", upload_image, methods=["POST"]),
            Route("/json", read_json, methods=["POST"]),
            Route("/stream", stream),
            Route("/pages/{name}", page),
            Route("/cookies", cookies),
            Mount("/static", StaticFiles(directory=files())),
        ]
    )


def files():
    """Return a folder with one file; it stays as long as this process' temporary folder."""
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "page.html").write_bytes(b"<p>hello</p>\n" * 100)
    return folder


# Pages


async def ok(request):
    return JSONResponse({"status": "ok"})


async def fail(request):
    raise RuntimeError("the warehouse does not answer")


async def forbidden(request):
    raise HTTPException(403)


async def no_content(request):
    return Response(status_code=204)


async def login(request):
    raise HTTPException(302, headers=TO_LOGIN)  # as a decorator does that finds nobody logged in


async def account(request):
    return await user(request)


async def user(request):
    raise NO_TOKEN


async def page(request):
    return PlainTextResponse(request.path_params["name"])


async def cookies(request):
    response = PlainTextResponse(" ".join(sorted(request.cookies)))
    response.set_cookie("visits", str(len(request.cookies)), httponly=True)
    response.delete_cookie("old")
    return response


# Bodies


async def upload_image(request):
    async with request.form() as form:
        if not isinstance(form.get("image"), UploadFile):
            raise HTTPException(400)
        image = await form["image"].read()
    return JSONResponse({"size": len(image)}, 201)


async def read_json(request):
    try:
        return JSONResponse(await request.json())
    except ValueError as error:
        raise HTTPException(400) from error


async def stream(request):
    return StreamingResponse(chunks(), media_type="application/octet-stream")


async def chunks():
    for _ in range(STREAM_CHUNKS):
        yield CHUNK


app = create_app()
