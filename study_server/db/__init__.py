"""The database: models and migrations, statements for both dialects, reads."""

from __future__ import annotations

from study_server.db.database import Database
from study_server.db.reader import Reader
from study_server.db.statements import Statement, Tx

__all__ = ["Database", "Reader", "Statement", "Tx"]
