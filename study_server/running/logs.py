"""What a server writes to its standard error: lines for people, or one JSON object per line for a log collector.

There is no access log: it would hold addresses.
"""

from __future__ import annotations

import json
import logging
import os
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, Literal

from uvicorn.config import LOGGING_CONFIG

from study_server import __name__ as SERVER

LogFormat = Literal["text", "json"]


class JsonFormatter(logging.Formatter):
    """One line of JSON: at (UTC), level, logger, process, message, and the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line; line breaks in it are escaped."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": os.getpid(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_config(log_format: LogFormat) -> dict[str, Any]:
    """For uvicorn: its own messages and the server's, in that format, from `info` on."""
    config = deepcopy(LOGGING_CONFIG)
    if log_format == "json":
        config["formatters"]["default"] = {"()": f"{__name__}.{JsonFormatter.__name__}"}
    config["loggers"][SERVER] = {"handlers": ["default"], "level": "INFO", "propagate": False}
    return config
