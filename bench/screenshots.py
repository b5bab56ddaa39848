"""Take the screenshots for README.md.

    python -m bench.screenshots

Writes them to assets, or --out. Requires Chromium and playwright (requirements-test.txt).
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

from bench.page import App
from gpen.cli.parsing import Folder, parse
from gpen.errors import GPENError, exit_status
from gpen.models.checkpoints import ASSETS

VIEWPORT: ViewportSize = {"width": 1400, "height": 800}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update"]  # fmt: skip
FADE_IN = 2500  # ms, until images have faded in
TIMEOUT = 90_000  # ms, timeout of each step


@dataclass(frozen=True)
class Options:
    """Options of the command."""

    out: Folder = ASSETS  # folder of the screenshots


def run(options: Options) -> None:
    """Start the page, open its tabs and take a screenshot of each."""
    chromium = find_chromium()
    with App() as app, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        view = browser.new_page(viewport=VIEWPORT)
        view.set_default_timeout(TIMEOUT)
        view.goto(app.address)
        view.wait_for_selector("#before-after img")
        _screenshot(view, options.out / "playground.png")
        view.get_by_role("tab", name="Restore a photo").click()
        view.locator("#photo-sample").click()
        view.wait_for_selector("#photo-face img")
        _screenshot(view, options.out / "photo.png")
        view.get_by_role("tab", name="Variations and colour").click()
        view.get_by_role("tab", name="Colourise").click()
        view.locator("#colorize-go").click()
        view.wait_for_selector("#colorize-result img")
        _screenshot(view, options.out / "tasks.png")
        view.get_by_role("tab", name="Rate").click()
        _screenshot(view, options.out / "rate.png")
        view.get_by_role("tab", name="Results").click()
        _screenshot(view, options.out / "results.png")
        browser.close()


def find_chromium() -> str:
    """The program of Chromium. Raises GPENError if there is none."""
    if program := next(filter(None, map(shutil.which, BROWSERS)), None):
        return program
    raise GPENError(f"Chromium was not found: install one of {', '.join(BROWSERS)}.")


def _screenshot(view: Page, path: Path) -> None:
    view.evaluate("scrollTo(0, 0)")
    view.wait_for_timeout(FADE_IN)
    view.screenshot(path=path)


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(Options, argv, "python -m bench.screenshots", description=__doc__.splitlines()[0])))


if __name__ == "__main__":
    sys.exit(main())
