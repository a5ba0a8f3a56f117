"""Prolific's API (docs.prolific.com/api-reference, November 2026), with the token of PROLIFIC_TOKEN.

Transitions and bulk approval may be repeated: Prolific ignores what is done already. Paying bonuses may not: a second
call pays a second time, so it is sent once whatever happens.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import httpx

from qsched import __version__
from qsched.client.remote import checked_address
from qsched.errors import InputError
from study_server.recruiting.platform import Bonus, BonusBatch, OutcomeUnknown, PlatformError, Submission

TOKEN_VARIABLE = "PROLIFIC_TOKEN"
#: For tests: another address than Prolific's.
ADDRESS_VARIABLE = "QSCHED_PROLIFIC_API"
ADDRESS = "https://api.prolific.com"
#: What POST /submissions/{id}/transition/ takes with REJECT.
CATEGORIES = (
    "TOO_QUICKLY",
    "TOO_SLOWLY",
    "FAILED_INSTRUCTIONS",
    "INCOMP_LONGITUDINAL",
    "FAILED_CHECK",
    "LOW_EFFORT",
    "MALINGERING",
    "NO_CODE",
    "BAD_CODE",
    "NO_DATA",
    "UNSUPP_DEVICE",
    "OTHER",
)
SHORTEST_MESSAGE = 100
MOST_AT_ONCE = 1_000  # submissions in one bulk approval, by its documentation
PAGE_SIZE = 200
ATTEMPTS = 4


class ProlificApi:
    """One researcher's account; a `RecruitingPlatform`."""

    def __init__(
        self, token: str, *, address: str = ADDRESS, timeout: float = 30.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._http = httpx.Client(
            base_url=f"{checked_address(address)}/api/v1",
            headers={"authorization": f"Token {token}", "user-agent": f"qsched/{__version__}"},
            timeout=timeout,
            follow_redirects=False,
            transport=transport,
        )

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> ProlificApi:
        """With the token of PROLIFIC_TOKEN; InputError without one."""
        token = environment.get(TOKEN_VARIABLE, "").strip()
        if not token:
            raise InputError(
                f"{TOKEN_VARIABLE} is not set; make an API token in your account at Prolific (API tokens) and export it"
            )
        return cls(token, address=environment.get(ADDRESS_VARIABLE, ADDRESS))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submissions(self, study: str) -> list[Submission]:
        """Every submission of a study of Prolific's."""
        found: dict[str, Submission] = {}
        page = 1
        while True:
            values = {"study": study, "page": str(page), "page_size": str(PAGE_SIZE)}
            answer = self._ask("GET", "/submissions/", params=values)
            rows = _field(answer, "results", list)
            for row in rows:
                one = Submission(
                    id=_field(row, "id", str),
                    person=row.get("participant_id") or row.get("participant") or "",
                    status=_field(row, "status", str),
                    code=row.get("study_code") or row.get("entered_code"),
                    return_requested=bool(row.get("return_requested")),
                )
                found[one.id] = one
            if len(rows) < PAGE_SIZE:
                return list(found.values())
            page += 1

    def approve(self, submissions: Sequence[str]) -> None:
        """Approve submissions; Prolific does it in the following minutes."""
        for start in range(0, len(submissions), MOST_AT_ONCE):
            body = {"submission_ids": list(submissions[start : start + MOST_AT_ONCE])}
            self._ask("POST", "/submissions/bulk-approve/", json=body)

    def reject(self, submission: str, *, category: str, message: str) -> str:
        """Reject a submission; returns its new status."""
        body = {"action": "REJECT", "message": message, "rejection_category": category}
        status: str = _field(self._ask("POST", f"/submissions/{submission}/transition/", json=body), "status", str)
        return status

    def request_return(self, submission: str, *, reasons: Sequence[str]) -> None:
        """Ask for the return of a submission (Prolific calls this experimental)."""
        body = {"request_return_reasons": list(reasons)}
        self._ask("POST", f"/submissions/{submission}/request-return/", json=body)

    def set_up_bonuses(self, study: str, bonuses: Sequence[Bonus]) -> BonusBatch:
        """Set up bonuses. The amount goes out in whole units ("1.50" is one pound fifty) and comes back in pence."""
        lines = "\n".join(f"{bonus.submission},{bonus.amount:.2f}" for bonus in bonuses)
        body = {"study_id": study, "csv_bonuses": lines}
        answer = self._ask("POST", "/submissions/bonus-payments/", json=body, repeat=False)
        amount, fees, vat, total = (
            Decimal(str(_field(answer, name, (int, float)))) / 100 for name in ("amount", "fees", "vat", "total_amount")
        )
        return BonusBatch(_field(answer, "id", str), amount, fees, vat, total)

    def pay_bonuses(self, batch: BonusBatch) -> None:
        """Pay a batch, which Prolific does in the following minutes."""
        self._ask("POST", f"/bulk-bonus-payments/{batch.id}/pay/", json={}, repeat=False)

    def _ask(self, method: str, path: str, *, repeat: bool = True, **values: Any) -> Any:
        """The JSON of an answer; `repeat` after a refusal for the moment (429) or no answer."""
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS or not repeat
            try:
                answer = self._http.request(method, path, **values)
            except httpx.HTTPError as error:
                if last:
                    kind = PlatformError if repeat else OutcomeUnknown
                    raise kind(f"Prolific does not answer ({error or type(error).__name__})") from error
            else:
                if answer.is_success:
                    return _json(answer)
                if last or answer.status_code not in (429, 502, 503):
                    raise PlatformError(f"Prolific refuses ({answer.status_code}): {_sentence(answer)}")
            time.sleep(2.0**attempt)
        raise AssertionError("unreachable")


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise PlatformError(f"Prolific's answer is no JSON: {answer.text[:80]!r}") from error


def _field(answer: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    value = answer.get(name) if isinstance(answer, dict) else None
    if not isinstance(value, kind):
        raise PlatformError(f"Prolific's answer has no {name} where its documentation has one; its API may be newer")
    return value


def _sentence(answer: httpx.Response) -> str:
    """The words of an error: {"error": {"title", "detail"}}, whose detail may be a text, a list or fields of lists."""
    try:
        error = answer.json()["error"]
        words = list(_words(error.get("detail"))) or list(_words(error.get("title")))
    except (ValueError, KeyError, TypeError, AttributeError):
        words = []
    return "; ".join(words)[:500] or {401: "the token is not valid", 404: "there is no such thing in this account"}.get(
        answer.status_code, "without a word"
    )


def _words(detail: object) -> Iterable[str]:
    if isinstance(detail, str):
        yield " ".join(detail.split())
    elif isinstance(detail, dict):
        for key, value in detail.items():
            yield f"{key}: {', '.join(_words(value))}"
    elif isinstance(detail, list):
        for value in detail:
            yield from _words(value)
