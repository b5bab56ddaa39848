"""Take the screenshots for README.md: `python -m bench.screenshots` writes them to assets/.

Requires Chromium and playwright (requirements-test.txt).
"""

from __future__ import annotations

import shutil

from playwright.sync_api import Page, ViewportSize, sync_playwright

import app
from demo import shell
from demo.tabs import rate
from gpen.models.checkpoints import ASSETS

VIEWPORT: ViewportSize = {"width": 1400, "height": 800}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip
FADE_IN = 2500  # ms, until images have faded in
TIMEOUT = 90_000  # ms, timeout of each step


def main() -> None:
    survey = rate.open_survey()
    page = app.build(survey=survey)
    settings = shell.launch_settings(rate.routes(survey))
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", **settings)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        view = browser.new_page(viewport=VIEWPORT)
        view.set_default_timeout(TIMEOUT)
        view.goto(url)
        view.wait_for_selector("#before-after img")
        _screenshot(view, "playground")
        view.get_by_role("tab", name="Restore a photo").click()
        view.locator("#photo-sample").click()
        view.locator("#photo-restore").click()
        view.wait_for_selector("#photo-slider img")
        _screenshot(view, "photo")
        view.get_by_role("tab", name="Variations and colour").click()
        view.get_by_role("tab", name="Colourise").click()
        view.locator("#colorize-go").click()
        view.wait_for_selector("#colorize-result img")
        _screenshot(view, "tasks")
        view.get_by_role("tab", name="Rate").click()
        _screenshot(view, "rate")
        view.get_by_role("tab", name="Results").click()
        _screenshot(view, "results")
        browser.close()
    page.close()


def _screenshot(view: Page, name: str) -> None:
    view.evaluate("scrollTo(0, 0)")
    view.wait_for_timeout(FADE_IN)
    view.screenshot(path=ASSETS / f"{name}.png")


if __name__ == "__main__":
    main()
