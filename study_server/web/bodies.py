"""Bodies of requests and answers: a limit on their size, and the base classes of what is checked and typed."""

from __future__ import annotations

import json
from typing import TypeVar
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from study_server.errors import BadRequest
from study_server.studies.design import MAX_DEMOGRAPHICS
from study_server.web.door import refuse_unstorable

# The study's questions about the person, and what the form itself and a platform add.
MAX_FORM_FIELDS = MAX_DEMOGRAPHICS + 20


class RequestBody(BaseModel):
    """What a page sends. Unknown keys are ignored: a newer page may send more. Types are those of the description: a 0
    is not false, and "1" is not a number."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


Body = TypeVar("Body", bound=RequestBody)


class ResponseBody(BaseModel):
    """What a page receives; the OpenAPI describes it. Optional values are null, never left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_serialization_defaults_required=True)


class ErrorDetail(ResponseBody):
    """`code` is for the page, `message` for a person."""

    code: str
    message: str


class ErrorBody(ResponseBody):
    """Every answer of the API that is not a success."""

    error: ErrorDetail


class BodyLimit:
    """Ends a request with 413 as soon as its body is larger than `max_bytes`, however it is sent."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(413, f"the request is larger than {self._max_bytes} bytes")
            return message

        await self._app(scope, receive_counted, send)


async def read_body(request: Request, body_type: type[Body]) -> Body:
    """The JSON body as `body_type`; RequestValidationError names the first field that does not fit."""
    # Another site's form can send text without asking first, JSON it cannot.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadRequest("the body was not sent as application/json")
    raw = await request.body()
    try:
        body = body_type.model_validate_json(raw)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error
    # JSON writes NUL and half a surrogate pair as escapes, and most bodies hold no escape.
    if b"\\u" in raw:
        refuse_unstorable(json.loads(raw))
    return body


async def read_form(request: Request) -> dict[str, str]:
    """An urlencoded form; the last value of a repeated field."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise BadRequest("the form was not sent as a form")
    try:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
    except ValueError as error:
        raise BadRequest("the form cannot be read") from error
    refuse_unstorable(form, "the form")
    return form
