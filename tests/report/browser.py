"""A headless Chromium for tests of pages, driven over a pipe by Chrome's DevTools protocol.

Nothing leaves the machine: Chromium finds no address of another host, and tests see each request
that a page makes.
"""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

AXE = Path(__file__).parents[2] / ".node/node_modules/axe-core/axe.min.js"
"""axe-core, which finds barriers for people who cannot see or use a mouse; `.ci/run` fetches it."""

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-breakpad", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio"),
    *("--force-device-scale-factor=1", "--host-resolver-rules=MAP * ~NOTFOUND"),
)
TIMEOUT_S = 60.0
"""Time that each step may take: a guard against a hang on a busy machine, not a measure."""

PHONE, DESKTOP = 375, 1280
"""Widths of the window in pixels."""

HEIGHT, MAX_HEIGHT = 800, 16_000
"""Height of the window in pixels, and the largest one of a screenshot."""

KEYS = {
    "Enter": 13,
    "Escape": 27,
    " ": 32,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Tab": 9,
}
"""Keys that tests press, with the code that Windows gives them, which Chromium asks for."""

CHARACTERS = {"Enter": "\r", " ": " "}


def find_chromium() -> str:
    """Find Chromium, or skip the test."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip("needs chromium, which .ci/run installs")


def read_axe() -> str:
    """Read axe-core, or skip the test."""
    if not AXE.exists():
        pytest.skip("needs axe-core in .node/, where .ci/run installs it")
    return AXE.read_text(encoding="utf-8")


class Browser:
    """A Chromium of its own, with an empty profile that is removed at the end."""

    def __init__(self, program: str, profile: Path) -> None:
        self.program = program
        self._profile = profile
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        # Chromium reads commands from file 3 and answers in file 4. Copies with larger numbers
        # first: one of the four may be 3 or 4 itself.
        copies = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (commands, answers)]
        try:
            self.process = os.posix_spawn(
                program,
                [program, *OPTIONS, f"--user-data-dir={profile}"],
                {**os.environ, "HOME": str(profile)},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
                    (os.POSIX_SPAWN_DUP2, copies[0], 3),
                    (os.POSIX_SPAWN_DUP2, copies[1], 4),
                ],
                setpgroup=0,
            )
        finally:
            for one in (commands, answers, *copies):
                os.close(one)
        self._buffer = b""
        self._number = 0
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(OSError, TimeoutError):
            self.call("Browser.close")
            while True:  # until the pipe ends with the process
                self._receive(time.monotonic() + TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self._read)
        os.close(self._write)
        shutil.rmtree(self._profile, ignore_errors=True)

    @contextmanager
    def open_page(
        self, path: Path, *, width: int = DESKTOP, dark: bool = False, scripts: bool = True
    ) -> Iterator["Page"]:
        """Open a file in a window of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        try:
            target = self.call(
                "Target.createTarget", url="about:blank", browserContextId=context, newWindow=True
            )["targetId"]
            session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            page = self._pages[session] = Page(self, session)
            page.load(path, width=width, dark=dark, scripts=scripts)
            yield page
        finally:
            self.call("Target.disposeBrowserContext", browserContextId=context)

    def call(self, method: str, session: str | None = None, **options: Any) -> Any:
        """Send a command, and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": options}
        if session is not None:
            message["sessionId"] = session
        rest = json.dumps(message).encode() + b"\0"
        while rest:
            rest = rest[os.write(self._write, rest) :]
        answer = self.wait(lambda one: one.get("id") == self._number, method)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def wait(self, is_last: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """Read messages, and pass events to their pages, until one is the last; return it."""
        end = time.monotonic() + TIMEOUT_S
        while True:
            message = self._receive(end, what)
            page = self._pages.get(message.get("sessionId", ""))
            if page is not None and "method" in message:
                page.note_event(message["method"], message["params"])
            if is_last(message):
                return message

    def _receive(self, end: float, what: str = "message") -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError(f"Chromium: {what} took longer than {TIMEOUT_S:.0f} s")
            part = os.read(self._read, 1 << 20)
            if not part:
                raise ConnectionError("Chromium has ended")
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


class Page:
    """A page with what it said and asked for.

    Attributes
    ----------
    messages : list of str
        Messages on the console, errors, refusals and dialogs.
    requests : list of str
        Addresses of all requests.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.address = ""

    def load(self, path: Path, *, width: int, dark: bool, scripts: bool) -> None:
        """Set up the window, and load a file."""
        self.address = path.resolve().as_uri()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.set_size(width, HEIGHT)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.call("Emulation.setEmulatedMedia", features=[scheme, still])
        self.call("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.call("Page.navigate", url=self.address)
        self._browser.wait(self._is_loaded, "Page.loadEventFired")
        self._has_frames = scripts

    def set_size(self, width: int, height: int) -> None:
        """Set the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width <= PHONE,
        )

    def _is_loaded(self, message: dict[str, Any]) -> bool:
        is_own = message.get("sessionId") == self._session
        return is_own and message.get("method") == "Page.loadEventFired"

    def call(self, method: str, **options: Any) -> Any:
        """Send a command to the page, and return its result."""
        return self._browser.call(method, self._session, **options)

    def note_event(self, method: str, event: dict[str, Any]) -> None:
        """Keep what an event says."""
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            values = [str(one.get("value", one.get("description"))) for one in event["args"]]
            self.messages.append(f"{event['type']}: {' '.join(values)}")
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            text = details.get("exception", {}).get("description", details["text"])
            self.messages.append(f"exception: {text}")
        elif method == "Log.entryAdded":
            self.messages.append(f"{event['entry']['level']}: {event['entry']['text']}")
        elif method == "Page.javascriptDialogOpening":
            raise AssertionError(f"the page opened a dialog: {event['message']}")

    def evaluate(self, expression: str) -> Any:
        """Evaluate JavaScript; promises are awaited."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            text = details.get("exception", {}).get("description", details["text"])
            raise AssertionError(f"{expression[:80]}: {text}")
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true, asking once for each frame."""
        self.evaluate(
            "new Promise(done => { const ask = () => "
            f"({expression}) ? done() : requestAnimationFrame(ask); ask(); }})"
        )

    def settle(self) -> None:
        """Wait until what was begun is drawn."""
        if self._has_frames:
            again = "requestAnimationFrame"
            self.evaluate(f"new Promise(done => {again}(() => {again}(() => done())))")

    def list_outside(self) -> list[str]:
        """List the addresses of requests for anything but the page and what lies in it."""
        self.settle()
        inside = ("data:", "blob:")
        return [one for one in self.requests if one != self.address and not one.startswith(inside)]

    def check_quiet(self) -> None:
        """See that the page said nothing on the console, and asked for nothing outside."""
        assert self.list_outside() == []
        assert self.messages == []

    def press(self, *keys: str, shift: bool = False) -> None:
        """Press keys, one after the other."""
        for key in keys:
            options: dict[str, Any] = {"key": key, "code": "Space" if key == " " else key}
            options |= {"windowsVirtualKeyCode": KEYS[key], "modifiers": 8 * shift}
            down = options | {"text": CHARACTERS[key]} if key in CHARACTERS else options
            self.call("Input.dispatchKeyEvent", type="keyDown", **down)
            self.call("Input.dispatchKeyEvent", type="keyUp", **options)
        self.settle()

    def type_text(self, selector: str, text: str) -> None:
        """Set the focus on a field, and type a text."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)
        self.settle()

    def tab_to(self, selector: str, limit: int = 200) -> None:
        """Press the tabulator until the focus is on an element that a selector names."""
        for _ in range(limit):
            self.press("Tab")
            if self.is_focused(selector):
                return
        raise AssertionError(f"{selector} is not among the first {limit} stops of the tabulator")

    def is_focused(self, selector: str) -> bool:
        """Return whether the focus is on an element that a selector names."""
        return bool(self.evaluate(f"document.activeElement.matches({json.dumps(selector)})"))

    def find_middle(self, selector: str) -> tuple[float, float]:
        """Scroll an element into view, and return the position of its middle."""
        self.settle()
        box = self.evaluate(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});"
            " const box = one.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2] })()"
        )
        return box[0], box[1]

    def hover(self, selector: str) -> None:
        """Move the mouse onto the middle of an element."""
        x, y = self.find_middle(selector)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        self.settle()

    def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        x, y = self.find_middle(selector)
        where: dict[str, Any] = {"x": x, "y": y, "button": "left", "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, **where)
        self.settle()

    def count(self, selector: str) -> int:
        """Count the elements that a selector names."""
        return int(self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def read(self, selector: str) -> str:
        """Return the text of the first element that a selector names."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    def is_shown(self, selector: str) -> bool:
        """Return whether an element is there, has a size and is not hidden."""
        return bool(
            self.evaluate(
                f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
                " return one !== null && one.checkVisibility({visibilityProperty: true,"
                " opacityProperty: true}) && one.getBoundingClientRect().width > 0 })()"
            )
        )

    def list_too_wide(self) -> list[str]:
        """List elements that reach beyond the right edge, if the page scrolls sideways."""
        found: list[str] = self.evaluate(
            """(() => {
              const root = document.documentElement, edge = root.clientWidth;
              if (root.scrollWidth <= edge) return [];
              const wide = [...document.querySelectorAll('body *')].filter(
                one => one.getBoundingClientRect().right > edge + 0.5);
              return [`page: ${root.scrollWidth} > ${edge}`].concat(wide.slice(0, 10).map(
                one => `${one.tagName} ${one.className}: ${one.getBoundingClientRect().right}`));
            })()"""
        )
        return found

    def list_violations(self, axe: str) -> list[str]:
        """List the serious and critical violations that axe-core finds."""
        self.settle()
        self.evaluate(f"typeof axe === 'undefined' && (() => {{ {axe} }})(), null")
        found: list[str] = self.evaluate(
            """axe.run(document, {resultTypes: ['violations']}).then(result =>
              result.violations.filter(one => ['serious', 'critical'].includes(one.impact)).map(
                one => [`${one.id} (${one.impact}), ${one.nodes.length} times: ${one.help}`].concat(
                  one.nodes.slice(0, 3).map(node => node.html.slice(0, 200) + ' ' +
                    [...node.any, ...node.all].map(check => check.message).join('; '))
                ).join(' | ')))"""
        )
        return found

    def save_screenshot(self, path: Path, *, height: int | None = None) -> None:
        """Save a screenshot of the whole page, or of its upper part, as a PNG file."""
        self.evaluate(
            "Promise.all([...document.images].map(one => { one.loading = 'eager';"
            " return one.decode().catch(() => 0) })).then(() => 0)"
        )
        root = "document.documentElement"
        width, whole = self.evaluate(f"[innerWidth, {root}.scrollHeight]")
        self.set_size(width, min(whole, height or MAX_HEIGHT))
        self.settle()
        answer = self.call("Page.captureScreenshot")
        self.set_size(width, HEIGHT)
        path.write_bytes(base64.b64decode(answer["data"]))


def check_page(browser: Browser, axe: str, path: Path) -> None:
    """See that a page is quiet, fits its window, and is open to all, in light, dark and on phones.

    Where ``FEATX_SCREENSHOTS`` names a folder, what the page looks like is kept there.
    """
    for name, width, dark in (
        ("wide", DESKTOP, False),
        ("dark", DESKTOP, True),
        ("phone", PHONE, False),
    ):
        with browser.open_page(path, width=width, dark=dark) as page:
            if folder := os.environ.get("FEATX_SCREENSHOTS"):
                page.save_screenshot(Path(folder) / f"{path.stem}-{name}.png", height=6000)
            page.check_quiet()
            assert page.list_too_wide() == [], name
            assert page.list_violations(axe) == [], name
