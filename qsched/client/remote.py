"""A study server over its API (/api/v1): lists page by page, exports checked against their checksum.

ApiError(QschedError)    the server refused, or did not answer; the message is the server's
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import ValidationError

from qsched import __version__
from qsched.errors import InputError, IntegrityError, QschedError
from qsched.files import atomic_file, write_atomic
from qsched.records import owner_api
from qsched.records.owner_api import ApiAnswer, Page
from qsched.records.stopping import looks_beside

FORMATS = ("parquet", "csv", "jsonl")
# A read, or an answer "too many calls", is tried again this often; a change is sent once.
ATTEMPTS = 4
LONGEST_PAUSE = 10.0
AnswerT = TypeVar("AnswerT", bound=ApiAnswer)


class ApiError(QschedError):
    """An answer that is not a success. `status` is HTTP's, 0 if no answer came; `code` names the kind of error."""

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class RemoteOwner:
    """The studies of a server elsewhere; a `qsched.client.Owner`.

    server    https://..., or http://127.0.0.1:PORT (a tunnel): the token must not travel readable
    token     of `qsched admin token create`
    """

    def __init__(
        self, server: str, token: str, *, timeout: float = 30.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._server = checked_address(server)
        self._http = httpx.Client(
            base_url=f"{self._server}/api/v1",
            headers={"authorization": f"Bearer {token}", "user-agent": f"qsched/{__version__}"},
            timeout=timeout,
            follow_redirects=False,
            transport=transport,
        )

    def __enter__(self) -> RemoteOwner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def studies(self) -> Iterator[owner_api.StudySummary]:
        """Every study, the oldest first."""
        return self._pages("/studies", owner_api.StudySummary)

    def study(self, slug: str) -> owner_api.StudyDetail:
        """One study with its design and history."""
        return self._ask(f"/studies/{_part(slug)}", owner_api.StudyDetail)

    def progress(self, slug: str) -> owner_api.Progress:
        """How far a study is."""
        return self._ask(f"/studies/{_part(slug)}/progress", owner_api.Progress)

    def counts(self, slug: str) -> owner_api.Counts:
        """The answers so far."""
        return self._ask(f"/studies/{_part(slug)}/counts", owner_api.Counts)

    def set_status(self, slug: str, status: owner_api.Status) -> None:
        """Open, pause or close a study."""
        body = owner_api.StatusRequest(status=status)
        self._tell("PUT", f"/studies/{_part(slug)}/status", body, owner_api.StudySummary)

    def update(self, slug: str, design: dict[str, Any], *, set_id: str) -> owner_api.Changes:
        """Apply a changed design, if every change is harmless."""
        body = owner_api.DesignRequest(set_id=set_id, design=design)
        return self._tell("PUT", f"/studies/{_part(slug)}/design", body, owner_api.Changes)

    def people(self, slug: str) -> Iterator[owner_api.PersonInfo]:
        """Every annotator, the newest first; needs the scope people."""
        return self._pages(f"/studies/{_part(slug)}/people", owner_api.PersonInfo)

    def payments(self, slug: str) -> Iterator[owner_api.PaymentInfo]:
        """Every participation by the platform's names; needs the scope people."""
        return self._pages(f"/studies/{_part(slug)}/payments", owner_api.PaymentInfo)

    def exclude(self, slug: str, person: owner_api.PersonRequest) -> owner_api.ExclusionDone:
        """Leave a person's votes out; needs the scope manage, and people for a platform id."""
        return self._tell("POST", f"/studies/{_part(slug)}/exclusions", person, owner_api.ExclusionDone)

    def include(self, slug: str, person: owner_api.PersonRequest) -> owner_api.ExclusionDone:
        """Let a person's votes count again; needs the scopes of `exclude`."""
        return self._tell("POST", f"/studies/{_part(slug)}/inclusions", person, owner_api.ExclusionDone)

    def forget(self, slug: str, person: owner_api.ForgetRequest) -> owner_api.ForgetDone:
        """Delete one person's data; needs the scopes manage and people."""
        return self._tell("POST", f"/studies/{_part(slug)}/deletions", person, owner_api.ForgetDone)

    def reported_pairs(self, slug: str) -> Iterator[owner_api.ReportedPairInfo]:
        """The pairs that people could not see, those that were taken out first."""
        return self._pages(f"/studies/{_part(slug)}/pairs/reported", owner_api.ReportedPairInfo)

    def enable_pairs(self, slug: str, pairs: Sequence[str] | None) -> int:
        """Show again the pairs that were taken out: all (None), or those named; needs the scope manage."""
        step = owner_api.MOST_PAIRS
        parts = [None] if pairs is None else [tuple(pairs[i : i + step]) for i in range(0, len(pairs), step)]
        address = f"/studies/{_part(slug)}/pairs/enable"
        bodies = [owner_api.EnableRequest(pairs=part) for part in parts]
        return sum(self._tell("POST", address, body, owner_api.PairsEnabled).pairs for body in bodies)

    def preview(self, slug: str) -> str:
        """The address of the owner's own walk through the study, without the server's; needs the scope manage."""
        return self._tell("POST", f"/studies/{_part(slug)}/previews", None, owner_api.LinkInfo).link

    def make_links(self, slug: str, count: int) -> tuple[owner_api.LinkInfo, ...]:
        """New personal links, which are stored nowhere; needs the scope manage."""
        body = owner_api.LinksRequest(count=count)
        return self._tell("POST", f"/studies/{_part(slug)}/links", body, owner_api.LinksMade).links

    def revoke_links(self, slug: str, names: Sequence[str]) -> owner_api.LinksRevoked:
        """Take back personal links that nobody has used; needs the scope manage."""
        address, done = f"/studies/{_part(slug)}/links/revoke", []
        for start in range(0, len(names), owner_api.MOST_NAMES):
            body = owner_api.RevokeRequest(names=tuple(names[start : start + owner_api.MOST_NAMES]))
            done.append(self._tell("POST", address, body, owner_api.LinksRevoked))
        return owner_api.LinksRevoked(
            revoked=sum(one.revoked for one in done),
            used=sum(one.used for one in done),
            before=sum(one.before for one in done),
        )

    def reports(self, slug: str) -> Iterator[owner_api.ReportInfo]:
        """What annotators reported, the newest first."""
        return self._pages(f"/studies/{_part(slug)}/reports", owner_api.ReportInfo)

    def log(self, slug: str | None = None) -> Iterator[owner_api.ActionInfo]:
        """What owners did, the newest first; of one study or of all."""
        return self._pages("/log", owner_api.ActionInfo, **({} if slug is None else {"study": slug}))

    def export_votes(self, slug: str, path: Path) -> None:
        """Write the votes table, and the looks of a stopping rule beside it.

        Raises IntegrityError, and writes no file, if what arrived is not what the server sent.
        """
        kind = path.suffix.removeprefix(".")
        if kind not in FORMATS:
            raise InputError(f"{path}: the ending {path.suffix!r} is not one of .{', .'.join(FORMATS)}")
        address = f"/studies/{_part(slug)}/votes"
        found = hashlib.sha256()
        try:
            # The server makes the file before it sends the first byte: minutes for many millions of votes.
            timeout = httpx.Timeout(30.0, read=600.0)
            with self._http.stream("GET", address, params={"format": kind}, timeout=timeout) as answer:
                if answer.status_code != 200:
                    answer.read()
                    raise self._refused(answer)
                promised = _digest_in(answer.headers.get("repr-digest", ""))
                with atomic_file(path, parents=True) as draft, draft.open("wb") as file:
                    for piece in answer.iter_bytes():
                        found.update(piece)
                        file.write(piece)
                    if found.digest() != promised:
                        raise IntegrityError(
                            f"{path}: what arrived is not what {self._server} sent (SHA-256 differs); nothing was "
                            "written, run the command again"
                        )
        except httpx.HTTPError as error:
            raise self._no_answer(error) from error
        looks = self._ask(f"/studies/{_part(slug)}/looks", owner_api.StoppingLooks).looks
        if looks is not None:
            write_atomic(looks_beside(path), (json.dumps(looks, indent=1) + "\n").encode())

    def _pages(self, address: str, kind: type[AnswerT], **params: str) -> Iterator[AnswerT]:
        cursor: str | None = None
        while True:
            asked = {**params, "limit": str(owner_api.MOST_ITEMS), **({} if cursor is None else {"cursor": cursor})}
            answer = self._send("GET", address, params=asked)
            page = self._read(answer, Page[kind])  # type: ignore[valid-type]
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def _ask(self, address: str, kind: type[AnswerT]) -> AnswerT:
        return self._read(self._send("GET", address), kind)

    def _tell(self, method: str, address: str, body: owner_api.ApiRequest | None, kind: type[AnswerT]) -> AnswerT:
        content = {} if body is None else {"json": body.model_dump(mode="json")}
        return self._read(self._send(method, address, **content), kind)

    def _send(self, method: str, address: str, **values: Any) -> httpx.Response:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._http.request(method, address, **values)
            except httpx.HTTPError as error:
                if method != "GET" or attempt == ATTEMPTS:
                    raise self._no_answer(error) from error
                pause = 0.5 * 2**attempt
            else:
                if answer.status_code == 200:
                    return answer
                again = answer.status_code == 429 or (answer.status_code == 503 and method == "GET")
                if not again or attempt == ATTEMPTS:
                    raise self._refused(answer)
                pause = _seconds(answer.headers.get("retry-after", ""))
            time.sleep(min(pause, LONGEST_PAUSE))
        raise AssertionError("unreachable")

    def _read(self, answer: httpx.Response, kind: type[AnswerT]) -> AnswerT:
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise ApiError(
                f"the answer of {self._server} cannot be read ({where}: {first['msg']}); is it a study server, and "
                f"of a version near {__version__}?",
                status=answer.status_code,
            ) from error

    def _refused(self, answer: httpx.Response) -> ApiError:
        try:
            detail = answer.json()["error"]
            code, message = str(detail["code"]), str(detail["message"])
        except (ValueError, KeyError, TypeError):
            code, message = "", f"{self._server} is not a study server, or a proxy in front of it refuses"
        return ApiError(f"{answer.status_code}: {message}", status=answer.status_code, code=code)

    def _no_answer(self, error: httpx.HTTPError) -> ApiError:
        return ApiError(f"{self._server} does not answer: {error or type(error).__name__}; check the address")


def checked_address(server: str) -> str:
    """The address without a slash at its end; InputError for one at which a token could be read on its way."""
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InputError(f"--server {server!r} is not an address; write https://study.example")
    if parts.username is not None:
        raise InputError("--server has a name or password in it, which would stay in the shell's history; leave it out")
    if parts.scheme == "http" and not _is_here(parts.hostname):
        raise InputError(
            f"--server {server}: over http everybody on the way could read the token; use https, or a tunnel: "
            f"ssh -L 8000:127.0.0.1:8000 {parts.hostname}, then --server http://127.0.0.1:8000"
        )
    return server.rstrip("/")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _part(text: str) -> str:
    """A slug or pseudonym as one part of an address."""
    return quote(text, safe="")


def _digest_in(header: str) -> bytes | None:
    """The SHA-256 in a Repr-Digest header (RFC 9530)."""
    for field in header.split(","):
        name, _, value = field.strip().partition("=")
        if name == "sha-256" and value.startswith(":") and value.endswith(":"):
            return base64.b64decode(value[1:-1])
    return None


def _seconds(header: str) -> float:
    return float(header) if header.isdigit() else 1.0
