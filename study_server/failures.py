"""Errors as the caller can read them: JSON for scripts, a page for people."""

from __future__ import annotations

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from study_server.admin.rendering import answer_owner_error
from study_server.errors import StudyError
from study_server.participation.pages import MessagePage
from study_server.web.bodies import ErrorBody, ErrorDetail
from study_server.web.context import server_of
from study_server.web.headers import API_HEADERS

# Kinds of the message page by status; any other status shows the general one.
MESSAGE_KINDS = {401: "session_expired", 403: "csrf", 404: "not_found", 410: "closed", 429: "rate_limited"}
HTTP_CODES = {404: "not_found", 413: "too_large"}


async def answer_error(request: Request, error: Exception) -> Response:
    """The answer to a request that raised `error`; nothing of an unexpected error reaches the browser."""
    status, detail = describe_error(error)
    headers = dict(getattr(error, "headers", None) or {})  # Allow, with a 405
    if status in (429, 503):
        headers["retry-after"] = "1"
    if wants_json(request.url.path):
        return JSONResponse(ErrorBody(error=detail).model_dump(), status_code=status, headers=headers)
    if (request.url.path + "/").startswith("/admin/"):
        page = answer_owner_error(request, error, status=status, message=detail.message)
        page.headers.update(headers)
        return page
    kind = MESSAGE_KINDS.get(status, "error")
    page = server_of(request).pages.render(
        request, MessagePage(kind, detail=detail.message if status in (422, 503) else None), status=status
    )
    page.headers.update(headers)
    return page


async def answer_unexpected(request: Request, error: Exception) -> Response:
    """As `answer_error`, for what Starlette answers outside of every middleware; it logs the error as well."""
    answer = await answer_error(request, error)
    answer.raw_headers.extend(API_HEADERS)
    return answer


def describe_error(error: Exception) -> tuple[int, ErrorDetail]:
    """Status, and code and message."""
    if isinstance(error, StudyError):
        return error.status, ErrorDetail(code=error.code, message=str(error))
    if isinstance(error, RequestValidationError):
        return 422, ErrorDetail(code="bad_request", message=_first_problem(error))
    if isinstance(error, HTTPException):
        code = HTTP_CODES.get(error.status_code, "http")
        return error.status_code, ErrorDetail(code=code, message=str(error.detail))
    return 500, ErrorDetail(code="error", message="something went wrong on the server; try again")


def wants_json(path: str) -> bool:
    """Whether a script asks, rather than a person who follows a link."""
    return (
        "/api/" in path
        or path.endswith(("/screening", "/seals", "/openapi.json"))
        or path.startswith(("/i/", "/healthz", "/readyz", "/metrics"))
    )


def _first_problem(error: RequestValidationError) -> str:
    """The first field that does not fit, and why."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"] if part != "body")
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])
