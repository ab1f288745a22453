"""A real Chromium without a window, driven over its DevTools pipe.

Needs the browser and nothing else: the protocol is JSON between zero bytes on two file
descriptors, so there is neither a driver nor a web socket. Source: the Chrome DevTools
Protocol, and ``--remote-debugging-pipe`` (read from 3, written to 4).

    with Browser() as browser:
        page = browser.open(url)
        page.until("document.querySelector('h1')")
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

# Whoever has a browser elsewhere names it.
VARIABLE = "TAHOE_FASTDL_CHROMIUM"
PROGRAMS = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "headless_shell",
    "chrome",
)

ANSWER_TIMEOUT_S = 60.0
STOP_GRACE_S = 5.0
POLL_S = 0.05
FIRST_FREE_FD = 10

DESKTOP = (1280, 900)
PHONE = (360, 740)

# The pipe's ends have to be 3 and 4, whatever they are here.
LAUNCHER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    " os.execv(sys.argv[3], sys.argv[3:])"
)

OPTIONS = (
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # where /dev/shm is small, pages would crash
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)


class BrowserError(Exception):
    """The browser, or a page's script, did not do what it should; the text says which."""


def find_program() -> str | None:
    """A Chromium on this machine, or None."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    return next((found for found in map(shutil.which, PROGRAMS) if found), None)


class Browser:
    """The browser's process; runs inside the ``with`` block, with a profile of its own.

    :raise BrowserError: there is none, or it did not start.
    """

    def __init__(self) -> None:
        program = find_program()
        if program is None:
            raise BrowserError(f"no Chromium is installed; name one in {VARIABLE}")
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._arrived = threading.Condition()
        self._answers: dict[int, dict[str, Any]] = {}
        self._pages: dict[str, Page] = {}
        self._last_id = 0
        self._has_ended = False

    def __enter__(self) -> Browser:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        self._profile = tempfile.mkdtemp(prefix="fastdl-browser-")
        theirs_in, self._out = _pipe()
        self._in, theirs_out = _pipe()
        # Chromium's own sandbox does not start for root; the pages are this project's own.
        options = [*OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", LAUNCHER, str(theirs_in), str(theirs_out)),
                *(self._program, *options, f"--user-data-dir={self._profile}", "about:blank"),
            ],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.call("Browser.getVersion")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process; harmless when it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        os.close(self._out)  # it ends with its pipe
        try:
            process.wait(STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, url: str, size: tuple[int, int] = DESKTOP, dark: bool = False) -> Page:
        """A new page of this size in CSS pixels, at this address."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        self._pages[session] = page
        page.prepare(size, dark)
        page.go(url)
        return page

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; returns its result.

        :raise BrowserError: it was refused, or not answered.
        """
        with self._lock:
            self._last_id += 1
            number = self._last_id
            message = {"id": number, "method": method, "params": parameters}
            if session:
                message["sessionId"] = session
            data = json.dumps(message).encode() + b"\0"
            try:
                while data:
                    data = data[os.write(self._out, data) :]
            except OSError as problem:
                raise BrowserError("the browser ended") from problem
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        with self._arrived:
            while number not in self._answers:
                if self._has_ended:
                    raise BrowserError(f"the browser ended instead of answering {method}")
                if not self._arrived.wait(deadline - time.monotonic()):
                    raise BrowserError(f"no answer to {method}")
            answer = self._answers.pop(number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error'].get('message')}")
        result: dict[str, Any] = answer["result"]
        return result

    def forget(self, session: str) -> None:
        """A page was closed."""
        self._pages.pop(session, None)

    def _read(self) -> None:
        rest = b""
        while True:
            try:
                data = os.read(self._in, 1 << 20)
            except OSError:
                data = b""
            if not data:
                break
            *messages, rest = (rest + data).split(b"\0")
            for message in messages:
                self._take(json.loads(message))
        os.close(self._in)
        with self._arrived:
            self._has_ended = True
            self._arrived.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            with self._arrived:
                self._answers[message["id"]] = message
                self._arrived.notify_all()
            return
        page = self._pages.get(message.get("sessionId", ""))
        if page is not None:
            page.on_event(message["method"], message["params"])


class Page:
    """One page: what is on it, and hands to use it with."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session
        # What no page of ours may do: errors, words on the console, blocked loads.
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.size = DESKTOP

    # ------------------------------------------------------------ its life

    def prepare(self, size: tuple[int, int], dark: bool) -> None:
        """Watch it, and give it its size and theme."""
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")
        self.resize(size)
        self.theme(dark)

    def resize(self, size: tuple[int, int]) -> None:
        """Be so large, in CSS pixels."""
        self.size = size
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=size[0] < 600,
        )

    def theme(self, dark: bool) -> None:
        """Have a reader who likes it dark, or light."""
        value = "dark" if dark else "light"
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": value}],
        )

    def go(self, url: str) -> None:
        """Load another address."""
        self.call("Page.navigate", url=url)
        # A navigation that is under way leaves the old page's scripts without a world.
        self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    def close(self) -> None:
        """Close it."""
        self._browser.forget(self._session)
        self._browser.call("Target.closeTarget", targetId=self._target)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol for this page."""
        return self._browser.call(method, self._session, **parameters)

    def on_event(self, method: str, parameters: dict[str, Any]) -> None:
        """Something happened; called from the reading thread."""
        if method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            thrown = details.get("exception", {}).get("description", "")
            self.problems.append(f"{details['text']} {thrown}")
        elif method == "Runtime.consoleAPICalled":
            words = [str(each.get("value")) for each in parameters["args"]]
            self.problems.append(f"console: {' '.join(words)}")
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(f"{parameters['entry']['text']} {parameters['entry'].get('url')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    # ------------------------------------------------------------ what is on it

    def eval(self, expression: str) -> Any:
        """The value of an expression, awaited if it is a promise; as JSON carries it.

        :raise BrowserError: it threw.
        """
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"].get("exception", {})
            raise BrowserError(str(thrown.get("description") or answer["exceptionDetails"]["text"]))
        return answer["result"].get("value")

    def until(self, expression: str, timeout_s: float = 30.0) -> None:
        """Wait until an expression is true.

        :raise BrowserError: it did not become so; shows what is on the page.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            if self.eval(f"Boolean({expression})"):
                return
            if time.monotonic() > deadline:
                raise BrowserError(
                    f"never true: {expression}\non the page: {self.text()[:3000]}\n{self.problems}"
                )
            time.sleep(POLL_S)

    def text(self, selector: str = "body") -> str:
        """The visible text of an element."""
        found = self.eval(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return str(found)

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """An element's left, top, width and height in the window, scrolled into it."""
        found = self.eval(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'start'}); const b = e.getBoundingClientRect();"
            " return [b.left, b.top, b.width, b.height]; })()"
        )
        return tuple(found)

    # ------------------------------------------------------------ hands

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """``mouseMoved``, ``mousePressed``, ``mouseReleased`` or ``mouseWheel`` at a place."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def wheel(self, x: float, y: float, notches: float) -> None:
        """Turn the wheel at a place; away from you is less than 0."""
        self.mouse("mouseWheel", x, y, deltaX=0, deltaY=100 * notches)

    def drag(self, x: float, y: float, to_x: float, to_y: float) -> None:
        """Press, move in some steps, release."""
        self.mouse("mousePressed", x, y, button="left", buttons=1, clickCount=1)
        for step in range(1, 6):
            part = step / 5
            at = (x + (to_x - x) * part, y + (to_y - y) * part)
            self.mouse("mouseMoved", *at, button="left", buttons=1)
        self.mouse("mouseReleased", to_x, to_y, button="left", clickCount=1)

    def key(self, key: str) -> None:
        """Press and release a key, by its DOM name."""
        text = {"text": key} if len(key) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def choose_files(self, selector: str, paths: Sequence[Path]) -> None:
        """What a person does with a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def screenshot(self, path: Path, height: int | None = None) -> None:
        """A PNG of the page from its top, as wide as it is.

        :param height: if not what the window shows.
        """
        clip = {"x": 0, "y": 0, "scale": 1, "width": self.size[0], "height": height or self.size[1]}
        # Two frames, so that what was asked for is drawn.
        self.eval(
            "new Promise(d => requestAnimationFrame(() => requestAnimationFrame(() => d(1))))"
        )
        shot = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


def _pipe() -> tuple[int, int]:
    """Ends that are in nobody's way when 3 and 4 are taken over."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, FIRST_FREE_FD) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]
