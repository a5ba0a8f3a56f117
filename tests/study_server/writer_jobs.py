"""Jobs that a writing process can import."""

from __future__ import annotations

import os
import signal

from study_server.db import Statement
from study_server.errors import Conflict

ADD = Statement(
    "INSERT INTO studies (slug, title, status, design, set_id, set_path, created_ms) "
    "VALUES (:slug, 't', 'open', '{}', 's', 'p', 0)"
)


def add(tx, *, slug):
    return tx.run(ADD, slug=slug)


def add_and_refuse(tx, *, slug):
    tx.run(ADD, slug=slug)
    raise Conflict("no", code="lease_lost")


def add_and_fail(tx, *, slug):
    tx.run(ADD, slug=slug)
    raise ZeroDivisionError


def add_and_die(tx, *, slug):
    """As if the system had ended the process in the middle of a transaction."""
    tx.run(ADD, slug=slug)
    os.kill(os.getpid(), signal.SIGKILL)


def study_and_time_of(tx, context):
    return context.study.slug, context.now


def something_that_cannot_travel(tx):
    raise type("Homeless", (Exception,), {})("on the way")
