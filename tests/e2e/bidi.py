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

KEYS = {
    "Space": " ",
    "Enter": "\ue006",
    "Tab": "\ue004",
    "ArrowLeft": "\ue012",
    "ArrowRight": "\ue014",
    "ArrowDown": "\ue015",
}


class BidiError(Exception):
    """The browser answered a command with an error, or a condition did not come true."""


class Firefox:
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
                    raise BidiError(f"{method}: {message['error']}: {message['message']}")
                return message["result"]

    def goto(self, url: str) -> None:
        self.send("browsingContext.navigate", {"context": self.tab, "url": url, "wait": "complete"})

    def resize(self, width: int, height: int) -> None:
        self.send("browsingContext.setViewport", {"context": self.tab, "viewport": {"width": width, "height": height}})

    def evaluate(self, expression: str) -> Any:
        """A JSON value of the page."""
        params = {
            "expression": f"JSON.stringify({expression})", "target": {"context": self.tab}, "awaitPromise": True,
        }  # fmt: skip
        answer = self.send("script.evaluate", params)
        if answer["type"] == "exception":
            raise BidiError(f"{expression}: {answer['exceptionDetails']['text']}")
        text = answer["result"].get("value")
        return None if text is None else json.loads(text)

    def wait_for(self, expression: str, *, seconds: float = 20.0) -> None:
        """Wait until an expression is true; navigation in between is fine."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.evaluate(expression):
                    return
            except BidiError as error:
                if "no such frame" not in str(error) and "destroyed" not in str(error):
                    raise
            time.sleep(0.05)
        raise BidiError(f"did not come true in {seconds} s: {expression}")

    def press(self, *names: str) -> None:
        """Press and release keys one after the other."""
        self._keys([{"type": kind, "value": KEYS.get(name, name)} for name in names for kind in ("keyDown", "keyUp")])

    def hold(self, name: str) -> None:
        self._keys([{"type": "keyDown", "value": KEYS.get(name, name)}])

    def release(self, name: str) -> None:
        self._keys([{"type": "keyUp", "value": KEYS.get(name, name)}])

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse."""
        x, y = self.evaluate(
            f"(e => {{ e.scrollIntoView({{block: 'center'}}); const r = e.getBoundingClientRect();"
            f" return [Math.round(r.left + r.width / 2), Math.round(r.top + r.height / 2)] }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        steps = [
            {"type": "pointerMove", "x": x, "y": y},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        self._act({"type": "pointer", "id": "mouse", "actions": steps})

    def wheel(self, x: int, y: int, delta: int) -> None:
        step = {"type": "scroll", "x": x, "y": y, "deltaX": 0, "deltaY": delta}
        self._act({"type": "wheel", "id": "wheel", "actions": [step]})

    def screenshot(self) -> bytes:
        """The viewport as PNG, in device pixels."""
        return base64.b64decode(self.send("browsingContext.captureScreenshot", {"context": self.tab})["data"])

    def _keys(self, actions: list[dict[str, Any]]) -> None:
        self._act({"type": "key", "id": "keyboard", "actions": actions})

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
        "browser.shell.checkDefaultBrowser": False, "browser.startup.page": 0, "app.update.enabled": False,
        "datareporting.policy.dataSubmissionEnabled": False, "toolkit.telemetry.enabled": False,
        "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
        "browser.aboutwelcome.enabled": False, "layout.css.devPixelsPerPx": str(ratio),
    }  # fmt: skip
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items()]
    (folder / "user.js").write_text("\n".join(lines), encoding="utf-8")
