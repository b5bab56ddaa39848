"""Check of a page in the browser with axe-core: WCAG 2.1 A and AA, and the best practices of axe."""

from axe_playwright_python.sync_playwright import Axe

SCHEMES = ("light", "dark")
WIDTHS = {1400: 900, 390: 844}  # width -> height, px
# whether the page has kept its size and number of elements for six frames, and no event, transition or animation runs
SETTLED = """() => {
  const root = document.documentElement;
  const running = document.getAnimations().filter((one) => one.playState === "running").length
    + document.querySelectorAll(".pending, .generating, [data-testid=status-tracker]:not(.hide)").length;
  const look = [root.scrollWidth, root.scrollHeight, document.getElementsByTagName("*").length].join();
  window.sameLooks = look === window.lastLook && !running ? (window.sameLooks ?? 0) + 1 : 0;
  window.lastLook = look;
  return window.sameLooks >= 6;
}"""


def assert_accessible(page, schemes: tuple[str, ...] = SCHEMES) -> None:
    """Assert that axe-core finds no violation in the current state of the page, in each scheme and at both widths.

    All rules of axe are used.
    """
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.wait_for_function("dark => document.body.classList.contains('dark') === dark", arg=scheme == "dark")
        for width, height in WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate("window.sameLooks = 0")
            page.wait_for_function(SETTLED)  # gradio lays the page out anew
            found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
            lines = [f"{rule['id']}: {node['html'][:160]} {node['failureSummary']}" for rule in found for node in rule["nodes"]]
            assert not lines, f"{scheme}, {width} px: " + "\n".join(lines)
