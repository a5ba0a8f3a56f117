"""A small WebDriver BiDi client, so that stock Firefox can be driven without geckodriver (Firefox speaks BiDi itself).

https://w3c.github.io/webdriver-bidi/: one WebSocket, JSON commands with ids, events in between.
"""

from __future__ import annotations

import base64
import itertools
import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.e2e.tab import Tab, TabError


class Firefox(Tab):
    """One tab of a running Firefox."""

    def __init__(self, port: int, *, seconds: float = 60.0) -> None:
        self._ids = itertools.count(1)
        self.errors: list[str] = []
        self._socket = _connect(f"ws://127.0.0.1:{port}/session", seconds)
        self.send("session.new", {"capabilities": {}})
        self.send("session.subscribe", {"events": ["log.entryAdded"]})
        self.tab: str = self.send("browsingContext.getTree", {})["contexts"][0]["context"]

    def __enter__(self) -> Firefox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, method: str, params: dict[str, Any]) -> Any:
        """Send a command and wait for its answer; script errors that arrive meanwhile go to `errors`."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.errors.append(message["params"]["text"])
            if message.get("id") == number:
                if message["type"] == "error":
                    raise TabError(f"{method}: {message['error']}: {message['message']}")
                return message["result"]

    def goto(self, url: str) -> None:
        self.send("browsingContext.navigate", {"context": self.tab, "url": url, "wait": "complete"})

    def resize(self, width: int, height: int) -> None:
        self.send("browsingContext.setViewport", {"context": self.tab, "viewport": {"width": width, "height": height}})

    def evaluate(self, expression: str) -> Any:
        params = {
            "expression": f"JSON.stringify({expression})",
            "target": {"context": self.tab},
            "awaitPromise": True,
        }
        answer = self.send("script.evaluate", params)
        if answer["type"] == "exception":
            raise TabError(f"{expression}: {answer['exceptionDetails']['text']}")
        text = answer["result"].get("value")
        return None if text is None else json.loads(text)

    def screenshot(self) -> bytes:
        return base64.b64decode(self.send("browsingContext.captureScreenshot", {"context": self.tab})["data"])

    def _act(self, source: dict[str, Any]) -> None:
        self.send("input.performActions", {"context": self.tab, "actions": [source]})


def _connect(url: str, seconds: float) -> ClientConnection:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return connect(url, max_size=64 * 2**20, open_timeout=10)
        except (OSError, TimeoutError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.3)


def write_profile(folder: Path, *, ratio: float) -> None:
    """Preferences of a fresh profile: no first-run pages, nothing that calls home, a given pixel ratio."""
    preferences = {
        "browser.shell.checkDefaultBrowser": False,
        "browser.startup.page": 0,
        "app.update.enabled": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "toolkit.telemetry.enabled": False,
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "browser.aboutwelcome.enabled": False,
        "layout.css.devPixelsPerPx": str(ratio),
    }
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items()]
    (folder / "user.js").write_text("\n".join(lines), encoding="utf-8")
