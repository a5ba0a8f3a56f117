"""The process that writes: `python -m study_server.writing.child FD`, started by `ProcessWriter`.

The first frame holds the settings. Then frames of (ticket, function, study id, values), and of studies before their
first job, until the end of the stream; answers are frames of (ticket, result, error), sent after the commit.
"""

from __future__ import annotations

import signal
import socket
import sys
from typing import Any

from study_server.db import Database, Reader
from study_server.errors import StudyError
from study_server.settings import ServerSettings
from study_server.studies.study import Study
from study_server.writing.committer import Committer, WriteJob
from study_server.writing.contexts import AssignmentContexts
from study_server.writing.frames import Frames, pack


def main() -> None:
    """Work until the parent closes its end, whatever signals reach the group."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        frames = Frames(sock)
        first = frames.receive()
        if first is None:
            return
        settings, *waiting = first
        _work(settings, sock, frames, waiting)


def _work(settings: ServerSettings, sock: socket.socket, frames: Frames, waiting: list[Any]) -> None:
    database = Database(settings)
    reader = Reader(database)
    desks, committer, studies = AssignmentContexts(reader), Committer(database), dict[int, Study]()
    records: list[Any] | None = waiting
    while records is not None:
        jobs = []
        for record in records:
            if isinstance(record, Study):
                studies[record.id] = record
                continue
            ticket, function, study, values = record
            jobs.append(WriteJob(desks.bind(function, None if study is None else studies[study], values), ticket))
        for start in range(0, len(jobs), committer.at_once):
            batch = jobs[start : start + committer.at_once]
            committer.settle(batch)
            try:
                sock.sendall(_answers(batch))
            except OSError:
                records = None  # the parent is gone; what was committed is found by its key
                break
        else:
            records = frames.receive()
    committer.close()
    reader.close()
    database.close()


def _answers(batch: list[WriteJob]) -> bytes:
    return pack([(job.ticket, job.result, _portable(job.error)) for job in batch])


def _portable(error: BaseException | None) -> BaseException | None:
    """Errors of ours can be pickled; of any other, which was logged here, the words go to the parent."""
    return error if error is None or isinstance(error, StudyError) else RuntimeError(repr(error))


if __name__ == "__main__":
    main()
