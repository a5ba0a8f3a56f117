"""What a recruiting platform can do for an owner, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from qsched.errors import QschedError

#: Statuses of a submission, as Prolific names them.
AWAITING_REVIEW = "AWAITING REVIEW"
APPROVED = "APPROVED"
REJECTED = "REJECTED"
RETURNED = "RETURNED"


class PlatformError(QschedError):
    """The platform refused, or did not answer; the message says in one sentence what it said."""


class OutcomeUnknown(PlatformError):
    """No answer came to a request that must not be repeated: it may have been carried out."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One person's participation as the platform knows it; `code` is what they entered."""

    id: str
    person: str
    status: str
    code: str | None
    return_requested: bool


@dataclass(frozen=True, slots=True)
class Bonus:
    """What one submission gets on top, in the currency of the platform's study."""

    submission: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class BonusBatch:
    """Bonuses that are set up and not paid. Amounts as the platform states them, in hundredths of its currency."""

    id: str
    amount: Decimal
    fees: Decimal
    vat: Decimal
    total: Decimal


class RecruitingPlatform(Protocol):
    """`ProlificApi` is one. Every method raises PlatformError."""

    def submissions(self, study: str) -> list[Submission]:
        """Every submission of one of its studies."""

    def approve(self, submissions: Sequence[str]) -> None:
        """Approve and pay these submissions; for good."""

    def reject(self, submission: str, *, category: str, message: str) -> str:
        """Reject a submission, with words to the person; returns its status. For good."""

    def request_return(self, submission: str, *, reasons: Sequence[str]) -> None:
        """Ask the person to return a submission, which frees its place and harms nobody."""

    def set_up_bonuses(self, study: str, bonuses: Sequence[Bonus]) -> BonusBatch:
        """Set up bonuses; nothing is paid yet."""

    def pay_bonuses(self, batch: BonusBatch) -> None:
        """Pay a batch: once, since a second call pays again. OutcomeUnknown if no answer came."""
