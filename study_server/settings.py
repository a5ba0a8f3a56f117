"""One typed settings object: built at the entry, passed down, read nowhere else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from qsched.locations import RemotePath

SECRET_VARIABLE = "QSCHED_SECRET_KEY"
DATABASE_VARIABLE = "QSCHED_DATABASE_URL"
METRICS_VARIABLE = "QSCHED_METRICS_TOKEN"


class ServerSettings(BaseModel):
    """Everything the server needs to know before it starts.

    `data_folder` holds the copies of the study images. `secret_key` signs cookies and tokens: at least 32
    characters, never a default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str
    data_folder: Path | RemotePath
    secret_key: SecretStr
    allow_simulated: bool = False
    secure_cookies: bool = False
    accel_prefix: str | None = Field(default=None, description="X-Accel-Redirect location of the image folder")
    max_body_bytes: int = Field(default=64 * 1024, ge=1024)
    requests_per_second: float = Field(default=20.0, gt=0, description="sustained API calls of one session")
    request_burst: int = Field(default=60, ge=1)
    arrivals_per_minute: int = Field(default=600, ge=1, description="consents from one address")
    holders_per_address: int = Field(
        default=60, ge=1, description="sessions of one address that hold pairs and have judged none"
    )
    owner_key: SecretStr | None = Field(default=None, description="of the printed link in single-user mode")
    metrics_token: SecretStr | None = Field(default=None, min_length=16, description="opens /metrics")
    sign_ins_per_minute: int = Field(default=5, ge=1, description="attempts of one address to sign in as an owner")
    sweep_seconds: float = Field(default=15.0, gt=0)
    busy_timeout_ms: int = Field(default=10_000, ge=0)
    sqlite_synchronous: Literal["FULL", "EXTRA"] = "FULL"

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        return known_database(value)

    @field_validator("accel_prefix")
    @classmethod
    def _rooted_prefix(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith("/") and value.endswith("/")):
            raise ValueError(f"accel_prefix {value!r} must begin and end with '/', like /protected-images/")
        return value

    @model_validator(mode="after")
    def _long_secret(self) -> ServerSettings:
        if len(self.secret_key.get_secret_value()) < 32:
            raise ValueError("secret_key is shorter than 32 characters; make one with: openssl rand -hex 32")
        return self

    @field_validator("secret_key", "metrics_token")
    @classmethod
    def _filled_in(cls, value: SecretStr | None) -> SecretStr | None:
        # Some versions of podman-compose pass ${NAME:-} on unexpanded, which anybody could guess.
        if value is not None and value.get_secret_value().startswith("${"):
            raise ValueError("it begins with ${, so a variable was not expanded; set the value itself")
        return value

    @property
    def is_sqlite(self) -> bool:
        """True where the database is one file."""
        return make_url(self.database_url).get_backend_name() == "sqlite"


def known_database(value: str) -> str:
    """`value` as SQLAlchemy wants it; ValueError for anything but a SQLite file or PostgreSQL."""
    try:
        url = make_url(value)
    except ArgumentError as error:
        shown = re.sub(r":[^:@]*@", ":***@", value)
        raise ValueError(f"{shown!r} is not a database URL; write sqlite:///file.db or postgresql://...") from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
    if url.get_backend_name() == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ValueError(
                "an in-memory SQLite database loses every vote when the server stops; name a file: sqlite:///study.db"
            )
        return value
    raise ValueError(f"{url.get_backend_name()!r} is not supported; use sqlite or postgresql")
