"""The verdict on one clause."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Number = float | int | str | bool | None


@dataclass(frozen=True)
class ClauseResult:
    """`claim` is the clause in words, `finding` what the votes say of it.

    `needs` says about how many votes (or prompts, see `needs_unit`) would show it if the estimate were the truth; None
    where more of them would not help, and where it is shown. `open_prompts` are what a second stage would ask about.
    """

    name: str
    claim: str
    shown: bool
    finding: str
    needs: int | None = None
    needs_unit: str = "votes"
    numbers: Mapping[str, Number] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    open_prompts: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """ "shown", or "not shown" with what would be needed."""
        if self.shown:
            return "shown"
        if self.needs is None:
            return "not shown"
        return f"not shown, needs about {self.needs:,} {self.needs_unit}"
