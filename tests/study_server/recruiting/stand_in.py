"""A stand-in for Prolific that follows its published API (docs.prolific.com/api-reference, November 2026).

Checked as there: the token, pages of submissions, transitions (REJECT needs a category and 100 characters), ids of
bonuses that must have taken part, amounts in whole units that come back in pence, and bonuses that are paid as often as
it is asked.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "prolific-token"


@dataclass
class Prolific:
    """The state of the stand-in; `busy` answers 429 are given first."""

    study: str
    submissions: dict[str, dict[str, Any]] = field(default_factory=dict)
    paid: list[str] = field(default_factory=list)
    batches: dict[str, list[str]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    busy: int = 0
    silent_pay: bool = False
    address: str = ""

    def add(self, submission: str, person: str, status: str = "AWAITING REVIEW", code: str = "DONE") -> None:
        self.submissions[submission] = {
            "id": submission,
            "participant_id": person,
            "status": status,
            "started_at": "2026-11-29T04:00:00Z",
            "completed_at": None,
            "study_code": code,
            "return_requested": None,
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if self.busy:
            self.busy -= 1
            return 429, {"error": {"title": "Too many requests", "detail": "slow down"}}
        parts = path.removeprefix("/api/v1/").strip("/").split("/")
        if method == "GET" and parts == ["submissions"]:
            if query["study"] != self.study:
                return 404, {"error": {"title": "Not found", "detail": "Not found."}}
            size, page = int(query.get("page_size", 20)), int(query.get("page", 1))
            rows = list(self.submissions.values())[(page - 1) * size : page * size]
            return 200, {"results": rows, "_links": {}, "meta": {"count": len(self.submissions)}}
        if parts == ["submissions", "bulk-approve"]:
            for one in body["submission_ids"]:
                self.submissions[one]["status"] = "APPROVED"
            return 200, "The request to bulk approve has been made successfully."
        if parts == ["submissions", "bonus-payments"]:
            lines = [line.split(",") for line in body["csv_bonuses"].splitlines()]
            wrong = [one for one, _ in lines if one not in self.submissions]
            if body["study_id"] != self.study or wrong:
                return 400, {"error": {"title": "Error", "detail": {"csv_bonuses": [f"unknown ids {wrong}"]}}}
            batch = f"batch{len(self.batches)}"
            self.batches[batch] = [one for one, _ in lines]
            pence = round(100 * sum(float(amount) for _, amount in lines))
            values = {"amount": pence, "fees": pence / 4, "vat": 0, "total_amount": 1.25 * pence}
            return 201, {"id": batch, "study": self.study, **values}
        if parts[0] == "bulk-bonus-payments":
            self.paid += self.batches[parts[1]]  # not idempotent
            return 202, f"Bulk bonus payment with ID {parts[1]} is being processed asynchronously."
        if parts[2:] == ["transition"]:
            if body["action"] == "REJECT" and len(body.get("message", "")) < 100:
                return 400, {"error": {"title": "Error", "detail": {"message": ["at least 100 characters"]}}}
            self.submissions[parts[1]]["status"] = "REJECTED"
            self.messages.append(body["message"])
            return 200, {"id": parts[1], "status": "REJECTED", "participant": "x"}
        if parts[2:] == ["request-return"]:
            self.submissions[parts[1]]["return_requested"] = "2026-11-29T04:00:00Z"
            return 200, {"id": parts[1], "status": "AWAITING REVIEW", "participant": "x"}
        return 404, {"error": {"title": "Not found", "detail": "Not found."}}


@contextmanager
def prolific(study: str = "STUDY") -> Iterator[Prolific]:
    """The stand-in on a port of this machine."""
    state = Prolific(study)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            parts = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            state.calls.append((self.command, parts.path))
            if self.headers["authorization"] != f"Token {TOKEN}":
                status, body = 401, {"error": {"title": "Authentication", "detail": "No valid token was provided."}}
            else:
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                status, body = state.answer(self.command, parts.path, query, json.loads(raw) if raw else None)
            if state.silent_pay and parts.path.endswith("/pay/"):
                self.close_connection = True
                return
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _answer

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
