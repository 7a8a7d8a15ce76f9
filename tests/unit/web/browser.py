"""A Chromium without a window, driven by its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S = 60.0
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-features=BackForwardCache",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--lang=en-US",
    "--remote-debugging-port=0",
)
_KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}


def find_browser() -> str | None:
    """Return where a Chromium is; None where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def browsing(folder: Path) -> Iterator[Tab]:
    """Start a browser with a profile of its own, lend a tab of it, and end it."""
    binary = find_browser()
    assert binary is not None
    command = [binary, *_FLAGS, f"--user-data-dir={folder}", "about:blank"]
    environ = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_CACHE_HOME": str(folder)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
    try:
        port = _until(lambda: _port(folder))
        pages = _until(lambda: [one for one in _targets(port) if one["type"] == "page"])
        with connect(pages[0]["webSocketDebuggerUrl"], max_size=None) as socket:
            yield Tab(socket)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Tab:
    """A tab of the browser. `wrong` are errors of the page: exceptions, and what its policy refused."""

    def __init__(self, socket: ClientConnection) -> None:
        """Listen to what happens in it."""
        self._socket, self._number = socket, 0
        self.wrong: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> Any:
        """Carry out a command of the protocol and return its answer."""
        self._number += 1
        number = self._number
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(PATIENCE_S))
            if message.get("id") == number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._hear(message)

    def js(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        told = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def enter(self, selector: str, value: str) -> None:
        """Give a field or a choice a value, as somebody would."""
        self.js(
            f"(field => {{ field.value = {json.dumps(value)}; for (const kind of ['input', 'change'])"
            f" field.dispatchEvent(new Event(kind)); }})(document.querySelector({json.dumps(selector)}))"
        )

    def open(self, url: str) -> None:
        """Load a page."""
        self.do("Page.navigate", url="about:blank")
        self.do("Page.navigate", url=url)

    def wait(self, expression: str, patience_s: float = PATIENCE_S) -> Any:
        """Return the value of an expression once it is true."""
        return _until(lambda: self.js(expression), patience_s, expression)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other; `Shift+Tab` and the like hold Shift."""
        for key in keys:
            name = key.removeprefix("Shift+")
            code = _KEYS.get(name, 0)
            text = {"Enter": "\r", " ": " "}.get(name, name if len(name) == 1 else "")
            told = {"key": name, "code": {" ": "Space"}.get(name, name), "windowsVirtualKeyCode": code}
            told["modifiers"] = 8 if name != key else 0
            self.do("Input.dispatchKeyEvent", type="keyDown", **({"text": text} if text else {}), **told)
            self.do("Input.dispatchKeyEvent", type="keyUp", **told)

    def resize(self, width: int, height: int) -> None:
        """Have a window of that size, in pixels of CSS."""
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """Prefer `light` or `dark`."""
        self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def shoot(self, path: Path, *, whole: bool = True) -> None:
        """Save a picture of the page."""
        told = self.do("Page.captureScreenshot", captureBeyondViewport=whole, format="png")
        path.write_bytes(base64.b64decode(told["data"]))

    def _hear(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.wrong.append(str(details.get("exception", {}).get("description", details)))
        elif message.get("method") == "Log.entryAdded" and told["entry"]["source"] in {
            "security",
            "violation",
            "javascript",
        }:
            self.wrong.append(told["entry"]["text"])


def _port(folder: Path) -> int | None:
    try:
        return int((folder / "DevToolsActivePort").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _targets(port: int) -> list[dict[str, Any]]:
    with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE_S) as answer:
        found: list[dict[str, Any]] = json.loads(answer.read())
        return found


def _until(look: Any, patience_s: float = PATIENCE_S, what: str = "the browser") -> Any:
    give_up_at = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < give_up_at, f"waited for {what}"
        time.sleep(0.05)
    return found
