"""The contracts are tried on the study server's own fixtures."""

from tests.study_server.conftest import built_sqlite, database, database_url, make_study, postgres, settings

__all__ = ["built_sqlite", "database", "database_url", "make_study", "postgres", "settings"]
