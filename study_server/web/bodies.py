"""Bodies of requests: read up to a limit and checked. Unknown extra keys are ignored: a newer page may send more."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from qsched.records.image_set import first_problem
from study_server.errors import BadRequest, TooLarge
from study_server.web.context import server_of

B = TypeVar("B", bound=BaseModel)


class Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


async def read_body(request: Request) -> bytes:
    """The whole body; TooLarge beyond the configured size, however it is sent."""
    limit = server_of(request).settings.max_body_bytes
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"the request is larger than {limit} bytes")
    return bytes(body)


async def read_json(request: Request, model: type[B]) -> B:
    """The body as `model`; BadRequest names the first field that does not fit."""
    body = await read_body(request)
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise BadRequest(first_problem(error)) from error


async def read_form(request: Request) -> dict[str, str]:
    """An urlencoded form; the last value of a repeated field."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise BadRequest("the form was not sent as a form")
    try:
        return dict(parse_qsl((await read_body(request)).decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise BadRequest("the form cannot be read") from error
