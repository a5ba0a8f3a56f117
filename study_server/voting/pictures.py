"""GET /i/{token}: the image of one side of one assignment, for the session that it was sealed for.

The token is all there is: it names neither file nor arm, and the same image in another assignment has another
one. Both arms get the same headers, and by their padding the same length.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from study_server.web.context import server_of

CACHING = "private, max-age=31536000, immutable"


async def image(request: Request) -> Response:
    """The picture, or 304 for a browser that has it; behind a proxy an X-Accel-Redirect."""
    server, token = server_of(request), request.path_params["token"]
    image_id = server.keys.unseal("image", token, 4)[2]
    headers = {"cache-control": CACHING, "etag": f'"{token[:32]}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    if server.settings.accel_prefix is not None:
        path = await server.images.relative_path(image_id)
        headers["x-accel-redirect"] = server.settings.accel_prefix + path
        return Response(headers=headers, media_type="image/png")
    return Response(await server.images.read(image_id), headers=headers, media_type="image/png")


ROUTES = [Route("/i/{token}", image, methods=["GET"])]
