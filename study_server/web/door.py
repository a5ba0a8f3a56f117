"""What happens before a request reaches a route: unstorable text is refused, HEAD is answered as GET without a body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from study_server.errors import BadRequest

_REFUSAL = b'{"error":{"code":"bad_request","message":"an address with a NUL character names nothing here"}}'


class Door:
    """Refuses NUL in an address, which PostgreSQL and SQLite treat differently, and serves HEAD wherever GET is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_REFUSAL))]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": _REFUSAL})
            return
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, send_head)


def _can_be_stored(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def refuse_unstorable(value: object, where: str = "the request") -> None:
    """BadRequest for a text, at any depth, with a NUL or half a surrogate pair: no database stores these."""
    if isinstance(value, str):
        if not _can_be_stored(value):
            raise BadRequest(f"{where} holds a character that cannot be stored (NUL or half of a surrogate pair)")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            refuse_unstorable(key, where)
            refuse_unstorable(item, where)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for item in value:
            refuse_unstorable(item, where)
