"""Make the image that link previews of the page show: `python -m bench.preview` writes demo/static/preview.jpg.

Requires Chromium and playwright (requirements-test.txt).
"""

from __future__ import annotations

import html
import sys
from dataclasses import dataclass

from playwright.sync_api import sync_playwright

import gpen
from bench.screenshots import FLAGS, find_chromium
from demo import images
from demo.languages import english
from demo.server.head import ICON, PREVIEW, PREVIEW_SIZE
from demo.tabs.playground import INITIAL_DEGRADATION
from gpen.cli.parsing import Folder, parse
from gpen.errors import exit_status
from gpen.faces.samples import SAMPLES

STYLE = """
body { margin: 0; width: 1200px; height: 630px; display: grid; grid-template: 1fr auto / 1fr 1fr; gap: 26px 24px;
  padding: 44px 60px 40px; box-sizing: border-box; background: #0b1020; color: #f8fafc;
  font-family: system-ui, "DejaVu Sans", sans-serif; }
figure { margin: 0; position: relative; height: 420px; overflow: hidden; border-radius: 18px; }
img.face { width: 100%; height: 100%; object-fit: cover; object-position: 50% 35%; }
figcaption { position: absolute; left: 16px; bottom: 16px; padding: 6px 16px; border-radius: 99px; background: #0b1020cc;
  font-size: 26px; }
footer { grid-column: 1 / -1; display: flex; align-items: center; gap: 22px; }
footer img { width: 84px; }
h1 { margin: 0; font-size: 37px; letter-spacing: -0.02em; }
p { margin: 6px 0 0; font-size: 24px; color: #a5b4fc; }
"""


@dataclass(frozen=True)
class Options:
    """Options of the command."""

    out: Folder = PREVIEW.parent  # folder of preview.jpg


def run(options: Options) -> None:
    """Damage and restore a face as on the initial page, and write both side by side as preview.jpg."""
    net = gpen.load()
    face = SAMPLES["astronaut"].load(net.size)
    damaged = INITIAL_DEGRADATION.resized(face)
    restored = gpen.Restorer(net).face(damaged).image
    figures = "".join(
        f'<figure><img class="face" src="{images.data_uri(image, net.size)}"><figcaption>{name}</figcaption></figure>'
        for image, name in ((damaged, "Damaged"), (restored, "Restored"))
    )
    title, honesty = html.escape(english("page.headline")), html.escape(english("page.honesty"))
    page = f"<style>{STYLE}</style>{figures}<footer>{ICON.read_text()}<div><h1>{title}</h1><p>GPEN. {honesty}</p></div></footer>"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        view = browser.new_page(viewport={"width": PREVIEW_SIZE[0], "height": PREVIEW_SIZE[1]})
        view.set_content(page.replace("<svg ", '<svg width="84" '), wait_until="load")
        view.screenshot(path=options.out / PREVIEW.name, type="jpeg", quality=88)
        browser.close()


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(Options, argv, "python -m bench.preview", description=__doc__.splitlines()[0])))


if __name__ == "__main__":
    sys.exit(main())
