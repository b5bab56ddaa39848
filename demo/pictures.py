"""The pictures in README.md, taken of the running page: `python -m demo.pictures` writes them to assets/.

Needs Chromium and playwright (requirements-test.txt).
"""

from __future__ import annotations

import shutil

from playwright.sync_api import sync_playwright

import app
from demo import theme
from gpen.checkpoints import ASSETS

VIEW = {"width": 1400, "height": 800}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip


def main() -> None:
    page = app.build()
    _, url, _ = page.launch(
        prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", ssr_mode=False,
        theme=theme.THEME, css_paths=theme.CSS, head=theme.HEAD,
    )  # fmt: skip
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        view = browser.new_page(viewport=VIEW)
        view.goto(url)
        view.wait_for_selector("#before-after img")
        view.wait_for_timeout(2000)  # the sliders' pictures fade in
        view.screenshot(path=ASSETS / "playground.png")
        browser.close()
    page.close()


if __name__ == "__main__":
    main()
