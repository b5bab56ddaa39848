"""How the page looks, and what stands above and below every tab.

A built-in theme with the visitor's own system fonts, so that nothing is fetched from elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("style.css")
HEAD = '<meta name="color-scheme" content="light dark">'
THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.indigo,
    neutral_hue=gr.themes.colors.slate,
    spacing_size=gr.themes.sizes.spacing_md,
    radius_size=gr.themes.sizes.radius_md,
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
)

HEADER = "<h1>GPEN</h1><p>Blind face restoration with a GAN prior</p>"
ABOUT = (
    "<p>The network <b>invents</b> plausible detail: a restored face is no evidence of what a person looked "
    "like. Do not use it to identify anyone. A picture you upload stays in memory while your page is open, "
    "and in temporary files for a quarter of an hour; nobody else sees it, and it is never stored nor "
    "learnt from.</p>"
)
