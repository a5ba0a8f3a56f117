"""The durable writer: jobs go in, their results come out after the commit that holds them."""

from __future__ import annotations

from study_server.writing.contexts import AssignmentContexts
from study_server.writing.writer import Writer

__all__ = ["AssignmentContexts", "Writer"]
