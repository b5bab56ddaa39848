"""Licences of model files, as printed by `gpen info` and before a download."""

from __future__ import annotations

FFHQ = "CC BY-NC-SA 4.0"  # of FFHQ, and so of the weights that are trained on it
IN_FULL = {FFHQ: f"{FFHQ} (non-commercial; trained on FFHQ)"}  # entry `licence` of a file -> text
GENERATED_FACES = "research use; licences of some training faces are not stated"
PUBLISHED = (
    "No licence is stated by the authors since March 2026; before that their README said "
    "'(c) Alibaba, 2021. For academic and non-commercial use only.'"
)
ASSETS = {"gpen-256": IN_FULL[FFHQ], "gpen-colorize": IN_FULL[FFHQ], "prior-64": GENERATED_FACES}  # files without an entry
UNKNOWN = "The file states no licence."
