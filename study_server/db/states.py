"""The states that the database holds, as types."""

from __future__ import annotations

from typing import Literal

StudyStatus = Literal["importing", "open", "paused", "closed"]
SessionState = Literal["active", "finished", "screened_out", "not_understood", "excluded"]
AssignmentState = Literal["leased", "voted", "expired", "void", "reported"]
