"""A pair's pictures: their addresses, and GET /i/{address} for the session that they were sealed for.

One token names session, assignment and both images, encrypted and signed; it names the pair in the page's calls, and
with `.l` or `.r` behind it a picture. It tells neither file nor arm, and the same images in another assignment have
another one. Both arms get the same headers, and by their padding the same length.
"""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from study_server.assignment.records import PictureContent
from study_server.errors import NotFound
from study_server.voting.answers import ShownPicture
from study_server.web.bodies import ErrorBody
from study_server.web.context import holds_session, server_of
from study_server.web.security import Keyring

router = APIRouter()
CACHING = "private, max-age=31536000, immutable"
Side = Literal["l", "r"]
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/png": {}}},
    304: {"description": "the browser has it"},
    404: {"model": ErrorBody, "description": "no picture of this session"},
    503: {"model": ErrorBody, "description": "the server cannot read its own picture"},
}
# Numbers in a pair's token: session, assignment, left image, right image.
PAIR_NUMBERS = 4


def seal_pair(keys: Keyring, session: int, assignment_id: int, left_image: int, right_image: int) -> str:
    """The token of one assignment."""
    return keys.seal("assignment", session, assignment_id, left_image, right_image)


def shown_picture(token: str, side: Side, picture: PictureContent) -> ShownPicture:
    """A picture as the page gets it."""
    return ShownPicture(src=f"/i/{token}.{side}", width=picture.width, height=picture.height)


@router.get("/i/{address}", response_class=Response, responses=ANSWERS)
async def image(address: str, request: Request) -> Response:
    """The picture, or 304 for a browser that has it; behind a proxy an X-Accel-Redirect."""
    server = server_of(request)
    token, _, side = address.rpartition(".")
    if side not in ("l", "r"):
        raise NotFound("unknown picture")
    session, _, left, right = server.keys.unseal("assignment", token, PAIR_NUMBERS)
    if not holds_session(request, session):
        raise NotFound("unknown picture")
    image_id = left if side == "l" else right
    headers = {"cache-control": CACHING, "etag": f'"{token[:32]}{side}"'}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    if server.settings.accel_prefix is not None:
        path = await server.images.relative_path(image_id)
        if path is not None:
            headers["x-accel-redirect"] = server.settings.accel_prefix + path
            return Response(headers=headers, media_type="image/png")
    return Response(await server.images.read(image_id), headers=headers, media_type="image/png")
