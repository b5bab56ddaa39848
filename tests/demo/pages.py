"""Pages of Chromium that tests use one after another, because opening a page in a new context takes twice as long as navigating.

Before the next test uses a page, its document is left and everything that it stored is deleted.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported late, with the browser
    from playwright.sync_api import Browser, Page

WIDE = {"width": 1400, "height": 900}  # px
CHANGEABLE = ("viewport", "color_scheme", "reduced_motion", "permissions")  # settings of an open page; others are of a context

# whether nothing has scrolled and no slider has moved for ten frames
STILL = """() => {
  const look = [scrollX, scrollY, ...[...document.querySelectorAll("[role=slider]")].map(e => e.ariaValueNow)].join();
  window.stillLooks = look === window.lastStill ? (window.stillLooks ?? 0) + 1 : 0;
  window.lastStill = look;
  return window.stillLooks >= 10;
}"""


class Pages:
    """Pages by the settings of their contexts; each page has a context of its own."""

    def __init__(self, browser: Browser, timeout: float):
        self._browser, self._timeout = browser, timeout
        self._free, self._used = defaultdict(list), []

    def open(self, url: str, fresh: bool = False, **settings) -> Page:
        """Navigate to a URL in a page that no one uses; the URLs of all its requests are in `page.asked`.

        fresh: in a new page, without a history. settings: of `Browser.new_context`.
        """
        own = {name: settings.pop(name) for name in CHANGEABLE if name in settings}
        key = tuple(sorted(settings.items()))
        page = self._free[key].pop() if self._free[key] and not fresh else self._new(settings)
        self._used.append((key, page))
        page.set_viewport_size(own.get("viewport", WIDE))
        media = {"color_scheme": "light", "reduced_motion": "no-preference"}
        page.emulate_media(**{name: own.get(name, default) for name, default in media.items()})
        page.context.grant_permissions(own.get("permissions", []))
        page.asked = []
        page.goto(url)
        return page

    def _new(self, settings: dict) -> Page:
        context = self._browser.new_context(viewport=WIDE, accept_downloads=True, **settings)
        context.set_default_timeout(1000 * self._timeout)
        page = context.new_page()
        page.on("request", lambda request: page.asked.append(request.url))
        return page

    def release(self) -> None:
        """End the use of all pages; those that cannot be emptied are closed."""
        from playwright.sync_api import Error

        for key, page in self._used:
            try:
                _empty(page)
                self._free[key].append(page)
            except Error:
                page.context.close()
        self._used.clear()


def _empty(page: Page) -> None:
    origin = page.evaluate("sessionStorage.clear(); location.origin")
    page.unroute_all(behavior="ignoreErrors")
    page.context.set_offline(False)
    page.goto("about:blank")
    page.mouse.move(0, 0)
    page.context.clear_permissions()
    session = page.context.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
    session.detach()


def swipe(page: Page, path: list[tuple[float, float]]) -> None:
    """Move one finger along a path in CSS pixels of the window, and wait until the page has followed."""
    session = page.context.new_cdp_session(page)
    for kind, points in (("touchStart", path[:1]), *(("touchMove", [point]) for point in path[1:]), ("touchEnd", [])):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})
    session.detach()
    page.evaluate("window.stillLooks = 0")
    page.wait_for_function(STILL)
