"""Theme of the page, and the texts above and below the tabs.

A built-in theme with system fonts, so that nothing is loaded from other servers.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STATIC = Path(__file__).with_name("static")
CSS = [STATIC / f"{name}.css" for name in ("base", "compare", "playground", "photo", "rate")]
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
    "into a sharp one. It <b>generates</b> plausible detail, learnt from its training faces: a restored face is a guess, "
    "not evidence of what a person looked like.</p>"
    "<p><b>Do not use it</b> to identify people, for face recognition, for police or court work, to check documents, "
    "or to present a result as a real photograph. Quality and fairness are lower for faces unlike the training data.</p>"
    "<p><b>Your photos.</b> An uploaded image stays in memory while this page is open, and in temporary "
    "files for 15 minutes. It is not stored permanently, shown to anyone else or used for training. A copied link "
    "contains settings only. Ratings are stored with the answer time and a random code, and you can delete them.</p>"
    "<p><b>Licence.</b> The code is Apache-2.0. The default model was trained on FFHQ: its weights are for non-commercial use "
    '(<a href="https://creativecommons.org/licenses/by-nc-sa/4.0/" rel="noopener">CC BY-NC-SA 4.0</a>).</p>'
)
