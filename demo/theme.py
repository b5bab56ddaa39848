"""Theme of the page.

A built-in theme with system fonts, so that nothing is loaded from other servers. Its colours are changed where the contrast
of text would be below 4.5, the minimum of WCAG 2.1 AA.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STATIC = Path(__file__).with_name("static")
CSS = [STATIC / f"{name}.css" for name in ("base", "compare", "playground", "photo", "variations", "rate")]
THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.indigo,
    neutral_hue=gr.themes.colors.slate,
    spacing_size=gr.themes.sizes.spacing_md,
    radius_size=gr.themes.sizes.radius_md,
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
).set(
    color_accent="*primary_600",  # in dark mode base.css sets a lighter one
    checkbox_background_color_selected="*primary_600",
    checkbox_background_color_selected_dark="*primary_600",
    body_text_color_subdued="*neutral_600",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_400",
    block_label_text_color="*neutral_600",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
)
