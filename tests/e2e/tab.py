"""What a test does in a tab, whatever browser and protocol: WebDriver's two protocols share the form of actions."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from typing import Any

KEYS = {
    "Space": " ",
    "Enter": "\ue006",
    "Tab": "\ue004",
    "ArrowLeft": "\ue012",
    "ArrowRight": "\ue014",
    "ArrowDown": "\ue015",
}

#: What a browser says of a page that is just being left for the next one.
BETWEEN_PAGES = ("no such frame", "destroyed", "no such window")


class TabError(Exception):
    """The browser answered a command with an error, or a condition did not come true."""


class Tab(ABC):
    """One tab of a running browser."""

    @abstractmethod
    def goto(self, url: str) -> None: ...

    @abstractmethod
    def resize(self, width: int, height: int) -> None: ...

    @abstractmethod
    def evaluate(self, expression: str) -> Any:
        """A JSON value of the page."""

    @abstractmethod
    def screenshot(self) -> bytes:
        """The viewport as PNG, in device pixels."""

    @abstractmethod
    def _act(self, source: dict[str, Any]) -> None:
        """Perform the actions of one input source."""

    def wait_for(self, expression: str, *, seconds: float = 20.0) -> None:
        """Wait until an expression is true; navigation in between is fine."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self.evaluate(expression):
                    return
            except TabError as error:
                if not any(words in str(error) for words in BETWEEN_PAGES):
                    raise
            time.sleep(0.05)
        raise TabError(f"did not come true in {seconds} s: {expression}")

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

    def _keys(self, actions: list[dict[str, Any]]) -> None:
        self._act({"type": "key", "id": "keyboard", "actions": actions})
