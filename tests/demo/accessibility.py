"""Check of a page in the browser with axe-core: WCAG 2.1 A and AA, and the best practices of axe."""

from axe_playwright_python.sync_playwright import Axe

SCHEMES = ("light", "dark")
WIDTHS = {1400: 900, 390: 844}  # width -> height, px


def assert_accessible(page) -> None:
    """Assert that axe-core finds no violation in the current state of the page, at both widths; all its rules are used."""
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(300)  # gradio lays the page out anew
        found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        lines = [f"{rule['id']}: {node['html'][:160]} {node['failureSummary']}" for rule in found for node in rule["nodes"]]
        assert not lines, f"{width} px: " + "\n".join(lines)
