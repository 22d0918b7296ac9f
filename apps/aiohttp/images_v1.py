"""Reference app for aiohttp: the image service of https://github.com/aio-libs/aiohttp/issues/10548.

That issue reports that objects of class `Request` stay in memory. The handlers have neither middleware nor
error handlers around them. It runs on aiohttp 3.8.0 and newer, Python 3.8 and newer.
"""

from aiohttp import web

BODY_LIMIT = 1024 * 1024


async def take_image(request):
    image = (await request.post())["image"].file.read()
    return web.json_response({"size": len(image)})


async def take_document(request):
    return web.json_response({"fields": len(await request.json())})  # what is sent is an image: ValueError


def create_app():
    """Return the service as an application that is bound to no event loop yet: it survives a fork."""
    app = web.Application(client_max_size=BODY_LIMIT)
    app.add_routes([web.post("/image", take_image), web.post("/document", take_document)])
    return app


app = create_app()
