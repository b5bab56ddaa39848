"""The tab Variations and colour: variations of a face, and the tasks of other models (see face_tasks).

Tasks without a model are hidden; a list below the others says which model adds which task. Their API endpoints exist always.
"""

from __future__ import annotations

import gradio as gr

import gpen
from demo import languages
from demo.server.limits.held import HeldValues
from demo.tabs import face_tasks, variations
from gpen.restoration import tasks


def tab(restorer: gpen.Restorer, held: HeldValues) -> None:
    """Build the tab inside the current gr.Blocks. `restorer` is a gpen.Restorer; `held` has the results of visitors."""
    device = next(restorer.net.parameters()).device
    with gr.Tabs(elem_id="variations-tabs", overflow_behavior="wrap"):
        with gr.Tab(languages.text("variations.heading"), id="variations", elem_id="tab-variations-face"):
            variations.panel(restorer, held)
        for task in face_tasks.NAMES:
            if tasks.local_model(task):
                with gr.Tab(languages.text(f"variations.{task}.title"), id=task, elem_id=f"tab-{task}") as opened:
                    face_tasks.panel(task, device, opened, held)
    gr.HTML(_missing(), visible=bool(_missing()), elem_id="missing-tasks", padding=False)
    with gr.Column(visible=False):
        face_tasks.endpoints(device)


def _missing() -> str:
    """Return a line of HTML about the tasks without a model, "" if every task has one."""
    parts = [
        languages.html(f"variations.{task}.missing", file=f"{names[0]}.pth")
        for task in face_tasks.NAMES
        if not tasks.local_model(task) and (names := tasks.TASKS[task].models)
    ]
    if not parts:
        return ""
    return f"<p><small>{languages.html('variations.missing')} {'; '.join(parts)}.</small></p>"
