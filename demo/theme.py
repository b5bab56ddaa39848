"""How the page looks, and what stands above and below every tab.

A built-in theme with the visitor's own system fonts, so that nothing is fetched from elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = [Path(__file__).with_name(name) for name in ("style.css", "rate.css")]
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
    "<p><b>What this is.</b> GPEN (Yang et al., CVPR 2021) is a neural network that turns a blurred, small or noisy face "
    "into a sharp one. It <b>invents</b> plausible detail from the faces it was trained on: a restored face is a guess, "
    "and no evidence of what a person looked like.</p>"
    "<p><b>What it must not be used for.</b> Identifying people, recognising faces, police or court work, checking documents, "
    "or passing a result off as a real photograph. It is less good, and less fair, for faces unlike those of its training.</p>"
    "<p><b>What becomes of your photos.</b> A picture you upload stays in memory while this page is open, and in temporary "
    "files for a quarter of an hour; it is never stored, shown to anyone else nor learnt from. A link that you copy "
    "holds the settings and no picture. Of a rating, the answer and a random code are kept, and you can delete them.</p>"
)
