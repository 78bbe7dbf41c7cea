"""Somebody at a real browser.

Playwright runs an event loop in the thread that uses it, where Django's ORM rightly refuses to
work. So the browser has a thread of its own, and a test says to it what the person does.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

BINARIES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SECONDS = 60
INSPECTION = (Path(__file__).parent / "inspection.js").read_text()
SHOTS = os.environ.get("BROWSER_SHOTS")
#: Pictures show so much of a page, from its top; 0 is all of it.
SHOTS_HEIGHT = int(os.environ.get("BROWSER_SHOTS_HEIGHT", "0"))

#: Name, colour scheme, width and height.
LOOKS = [("light", "light", 1280, 800), ("dark", "dark", 1280, 800), ("narrow", "light", 360, 740)]


def missing() -> str | None:
    """Say why there is no browser; ``None`` if there is."""
    if importlib.util.find_spec("playwright") is None:
        return "Playwright is not installed (the dependency group browser)"
    if binary() is None:
        return "there is no chromium; `make services` installs it on Debian"
    return None


def binary() -> str | None:
    return next(filter(None, map(shutil.which, BINARIES)), None)


class Chromium:
    """One browser process, in one thread."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "browser")

    def __enter__(self) -> Self:
        self.run(self._start)
        return self

    def __exit__(self, *exc: object) -> None:
        self.run(self._stop)
        self._thread.shutdown()

    def run(self, what: Callable[..., Any], *args: Any) -> Any:
        return self._thread.submit(what, *args).result()

    def _start(self) -> None:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415  # may be missing

        self._playwright = sync_playwright().start()
        self.browser = self._playwright.chromium.launch(executable_path=binary(), args=ARGUMENTS)

    def _stop(self) -> None:
        self.browser.close()
        self._playwright.stop()


class Person:
    """A window of their own, and eyes for whatever goes wrong in it.

    Attributes:
        troubles: violations of the content security policy, script errors, requests that failed
            or went elsewhere. A test that expects one takes it out.
    """

    def __init__(
        self, chromium: Chromium, site: str, cookies: dict[str, str], *, javascript: bool = True
    ) -> None:
        self._chromium = chromium
        self._site = site
        self._javascript = javascript
        self.troubles: list[str] = []
        chromium.run(self._open_window, cookies)

    def close(self) -> None:
        self._chromium.run(self._context.close)

    # What they do

    def open(self, path: str) -> int:
        """Go to ``path``; returns the status."""
        return self._do(lambda page: page.goto(urljoin(self._site, path)).status)

    def press(self, name: str) -> None:
        """Press a button, and wait for the page that follows."""
        self._leave(lambda page: page.get_by_role("button", name=name, exact=True))

    def click(self, name: str) -> None:
        """Press a button that changes the page it is on."""
        self._do(lambda page: page.get_by_role("button", name=name, exact=True).click())

    def unfold(self, name: str) -> None:
        """Open what is folded behind a summary."""
        self._do(lambda page: page.locator("summary", has_text=name).click())

    def offline(self, is_offline: bool) -> None:
        """Pull out the network cable, or put it back."""
        self._do(lambda page: page.context.set_offline(is_offline))

    def follow(self, name: str, *, nth: int = 0) -> None:
        """Click a link of the page's own part, and wait for the page that follows."""
        self._leave(
            lambda page: (
                page.locator("#content").get_by_role("link", name=name, exact=True).nth(nth)
            )
        )

    def fill(self, label: str, value: str) -> None:
        self._do(lambda page: _field(page, label).fill(value))

    def tick(self, label: str, *, on: bool = True) -> None:
        """Tick the box, or choose the radio button, whose label holds ``label``."""
        self._do(lambda page: page.get_by_label(label).set_checked(on))

    def choose(self, label: str, option: str) -> None:
        self._do(lambda page: _field(page, label).select_option(option))

    def key(self, *names: str) -> None:
        """Press keys, one after the other."""
        for name in names:
            self._do(lambda page, name=name: page.keyboard.press(name))

    def submit_by_key(self, name: str) -> None:
        """Press a key, and wait for the page that follows."""

        def act(page: Any) -> None:
            with page.expect_navigation():
                page.keyboard.press(name)

        self._do(act)

    def type(self, text: str) -> None:
        self._do(lambda page: page.keyboard.type(text))

    def tab_to(self, name: str) -> list[str]:
        """Press Tab until what has the focus is called ``name``; returns what was on the way."""
        way: list[str] = []
        while len(way) < 99:
            self.key("Tab")
            way.append(self._do(lambda page: page.evaluate(FOCUSED)))
            if way[-1] == name:
                return way
        raise AssertionError(f"{name!r} does not get the focus: {way}")

    def post(self, path: str) -> int:
        """Send what no button here sends, with a valid CSRF token; returns the status."""
        return self._do(lambda page: page.evaluate(POST, path))

    def tamper(self, script: str) -> None:
        """Change the page they look at."""
        self._do(lambda page: page.evaluate(script))

    def expects(self, trouble: str) -> None:
        """Wait for a trouble that the test has caused on purpose, and take it out."""
        deadline = time.monotonic() + SECONDS
        while not (caused := [one for one in self.troubles if trouble in one]):
            assert time.monotonic() < deadline, self.troubles
            self._do(lambda page: page.wait_for_timeout(20))
        self.troubles = [one for one in self.troubles if one not in caused]

    # What they see

    @property
    def path(self) -> str:
        return self._do(lambda page: urlsplit(page.url).path)

    def text(self) -> str:
        """What can be read on the page."""
        return self._do(lambda page: page.locator("#main").inner_text())

    def sees(self, *texts: str) -> None:
        """Wait for every text to be there."""
        for text in texts:
            self._do(lambda page, text=text: page.get_by_text(text).first.wait_for())

    def sees_not(self, *texts: str) -> None:
        shown = self.text()
        assert [text for text in texts if text.lower() in shown.lower()] == []

    def can_press(self) -> set[str]:
        """The names of all buttons, and of links that look like one."""
        return self._do(
            lambda page: {
                (element.get_attribute("value") or element.text_content()).strip()
                for element in page.locator(
                    "#content :is(a.button, button, [type=submit], .object-tools a)"
                ).all()
                if element.is_visible()
            }
        )

    def links(self) -> set[str]:
        """The names of all links of the page's own part."""
        return self._do(lambda page: set(page.locator("#content a").all_text_contents()))

    def value_of(self, label: str) -> str:
        return self._do(lambda page: _field(page, label).input_value())

    def is_ticked(self, label: str) -> bool:
        return self._do(lambda page: page.get_by_label(label).is_checked())

    def evaluates(self, script: str) -> Any:
        """What a script finds in the page."""
        return self._do(lambda page: page.evaluate(script))

    def look(self, name: str) -> None:
        """Look closely at the page: nothing may be wrong."""
        found = self.findings(name)
        assert found == [], "\n".join(found)

    def findings(self, name: str) -> list[str]:
        """What is wrong with the page, wide and narrow, in light and in dark.

        Writes pictures to the folder ``BROWSER_SHOTS``, if that is set.
        """
        return self._do(
            lambda page: [line for look in LOOKS for line in _inspect(page, name, look)]
        )

    def _open_window(self, cookies: dict[str, str]) -> None:
        self._context = self._chromium.browser.new_context(
            locale="en", java_script_enabled=self._javascript
        )
        self._context.set_default_timeout(SECONDS * 1000)
        self._context.add_cookies(
            [{"name": name, "value": value, "url": self._site} for name, value in cookies.items()]
        )
        self._page = self._context.new_page()
        self._page.on("console", self._hear)
        self._page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))
        self._page.on("requestfailed", self._failed)
        self._page.on("request", self._requested)

    def _hear(self, message: Any) -> None:
        # An icon for the tab is the business of the site that installs the app.
        is_icon = message.location["url"].endswith("/favicon.ico")
        if message.type in ("error", "warning") and not is_icon:
            self.troubles.append(f"{message.type}: {message.text}")

    def _failed(self, request: Any) -> None:
        # A page that is left while it loads is no failure.
        if request.failure != "net::ERR_ABORTED":
            self.troubles.append(f"{request.failure}: {request.url}")

    def _requested(self, request: Any) -> None:
        if not request.url.startswith(self._site):
            self.troubles.append(f"went elsewhere: {request.url}")

    def _leave(self, find: Callable[[Any], Any]) -> None:
        def act(page: Any) -> None:
            with page.expect_navigation():
                find(page).click()

        self._do(act)

    def _do(self, what: Callable[[Any], Any]) -> Any:
        return self._chromium.run(what, self._page)


POST = """async (path) => {
  const [token] = document.getElementsByName("csrfmiddlewaretoken");
  const answer = await fetch(path, { method: "POST", headers: { "X-CSRFToken": token.value } });
  return answer.status;
}"""


def _field(page: Any, label: str) -> Any:
    # Django puts a colon behind a label.
    return page.get_by_label(re.compile(f"^{re.escape(label)}:?$"))


FOCUSED = """() => {
  const element = document.activeElement;
  const label = element.labels && element.labels.length ? element.labels[0].innerText : "";
  const value = element.type === "submit" ? element.value || element.textContent : "";
  const own = element.getAttribute("aria-label") || value;
  const link = element.localName === "a" ? element.textContent : "";
  return (label || own || link || element.localName).trim().replace(/:$/, "");
}"""


def _inspect(page: Any, name: str, look: tuple[str, str, int, int]) -> list[str]:
    look_name, scheme, width, height = look
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": height})
    if SHOTS:
        file = re.sub(r"[^\w-]+", "-", f"{name}-{look_name}") + ".png"
        whole = page.evaluate("document.documentElement.scrollHeight")
        seen = {"x": 0, "y": 0, "width": width, "height": min(whole, SHOTS_HEIGHT or whole)}
        # Hiding the caret takes a style, which the policy forbids.
        how = {"full_page": True, "animations": "disabled", "caret": "initial"}
        page.screenshot(path=Path(SHOTS) / file, clip=seen, **how)
    return [f"{name}, {look_name}: {line}" for line in page.evaluate(INSPECTION)]
