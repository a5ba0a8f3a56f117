"""A small WebDriver client for WebKitGTK: the engine of Safari, as Debian has it, in its own test browser.

https://www.w3.org/TR/webdriver2/: JSON over HTTP. WebKitWebDriver starts MiniBrowser, which needs a screen (Xvfb).
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.e2e.tab import Tab, TabError

SCREEN = "1400x1000x24"
BROWSERS = "/usr/lib/*/webkit2gtk-4.1/MiniBrowser", "/usr/lib/*/webkit2gtk-4.0/MiniBrowser"


class WebKit(Tab):
    """One tab of a MiniBrowser of its own, on a screen of its own with the given pixel ratio (a whole number).

    Under automation MiniBrowser tells its console to nobody: an error in a script shows only by what the page then
    fails to do.
    """

    def __init__(self, folder: Path, browser: Path, *, ratio: int) -> None:
        screen = _free_screen()
        home = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "GDK_SCALE": str(ratio)}
        graphics = {"DISPLAY": screen, "LIBGL_ALWAYS_SOFTWARE": "1", "GDK_BACKEND": "x11"}
        self._screen = subprocess.Popen(
            ["Xvfb", screen, "-screen", "0", SCREEN, "-nolisten", "tcp"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._driver = subprocess.Popen(
            ["WebKitWebDriver", f"--port={port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **home, **graphics},
        )
        self._session = f"http://127.0.0.1:{port}"
        options = {"binary": str(browser), "args": ["--automation"]}
        try:
            opened = self._patiently(
                "session", {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}}
            )
        except BaseException:
            self._end()
            raise
        self._session += f"/session/{opened['sessionId']}"

    def __enter__(self) -> WebKit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._send("", method="DELETE")
        self._end()

    def _end(self) -> None:
        for process in (self._driver, self._screen):
            process.terminate()
            process.wait(timeout=20)

    def goto(self, url: str) -> None:
        self._send("url", {"url": url})

    def resize(self, width: int, height: int) -> None:
        # The window's frame is taller than the page by what the first try tells.
        self._send("window/rect", {"width": width, "height": height})
        inner = self.evaluate("[innerWidth, innerHeight]")
        self._send("window/rect", {"width": 2 * width - inner[0], "height": 2 * height - inner[1]})

    def evaluate(self, expression: str) -> Any:
        text = self._send("execute/sync", {"script": f"return JSON.stringify({expression})", "args": []})
        return None if text is None else json.loads(text)

    def screenshot(self) -> bytes:
        return base64.b64decode(self._send("screenshot", method="GET"))

    def _act(self, source: dict[str, Any]) -> None:
        self._send("actions", {"actions": [source]})

    def _patiently(self, command: str, body: dict[str, Any]) -> Any:
        deadline = time.monotonic() + 30
        while True:
            try:
                return self._send(command, body)
            except (urllib.error.URLError, TabError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _send(self, command: str, body: dict[str, Any] | None = None, *, method: str = "POST") -> Any:
        request = urllib.request.Request(
            f"{self._session}/{command}".rstrip("/"),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            answer = json.load(error)["value"]
            raise TabError(f"{command}: {answer['error']}: {answer['message']}") from error


def find_browser() -> Path | None:
    """MiniBrowser of Debian's package, which is outside PATH."""
    return next((path for pattern in BROWSERS for path in Path("/").glob(pattern[1:])), None)


def _free_screen() -> str:
    taken = {path.name for path in Path("/tmp/.X11-unix").glob("X*")}
    return next(f":{number}" for number in range(90, 200) if f"X{number}" not in taken)
