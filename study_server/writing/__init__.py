"""The durable writer: jobs go in, their results come out after the commit that holds them.

`ThreadWriter` runs them on threads of the server's process, `ProcessWriter` in processes of their own, beside the
server's interpreter and not inside it: twice the votes a second where there are two cores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from study_server.studies.study import Study
from study_server.writing.contexts import AssignmentContexts
from study_server.writing.process import ProcessWriter
from study_server.writing.threads import ThreadWriter

T = TypeVar("T")


class Writer(Protocol):
    """`start` inside a running event loop, `stop` before it ends."""

    async def start(self) -> None:
        """Be ready for jobs."""

    async def stop(self) -> None:
        """Finish what was handed in, then end."""

    async def run(self, function: Callable[..., T], study: Study | None, /, **values: Any) -> T:
        """The result of function(tx, context of the study, **values), or of function(tx, **values) without a study.

        It is durable by then. Raises the function's StudyError, or NotSaved when the database fails. `function` is
        one of a module, and it and the values can be pickled: they may travel to another process.
        """


__all__ = ["AssignmentContexts", "ProcessWriter", "ThreadWriter", "Writer"]
