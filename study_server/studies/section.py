"""What every section of study.yaml is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

Word = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class DesignSection(BaseModel):
    """Frozen, and closed to keys that the documentation does not name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PlacedError(ValueError):
    """A rule about several keys is broken; `location` (keys and list positions) is the one to change."""

    def __init__(self, words: str, *location: int | str) -> None:
        super().__init__(words)
        self.location = location
