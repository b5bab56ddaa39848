"""The results tab: the figures of archived runs (assets/results/*.json), sortable, drawn, with the command under each.

python -m eval.archive RUN assets/results/NAME.json puts a run there.
"""

from __future__ import annotations

import html
from pathlib import Path

import gradio as gr

from eval import archive
from eval.cells import metric_heading
from gpen.errors import GPENError

NONE = (
    "<p>There are no results here yet: make a run with <code>python -m eval run</code>, then "
    "<code>python -m eval.archive RUN assets/results/NAME.json</code>.</p>"
)
SENTENCE = (
    "<p>What was measured, on which images, by which command: click a column's heading to sort by it. "
    "An empty cell is infinite or was not measured. Drawn are means with their 95% intervals.</p>"
)
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}


def tab(folder: str | Path = archive.RESULTS) -> None:
    """Build the tab inside the current gr.Blocks from the archived runs in `folder`, the latest first."""
    try:
        runs = {run.title: run for run in archive.read_all(folder)}
    except GPENError as error:
        gr.HTML(f"<p>{html.escape(str(error))}</p>", elem_id="no-results")
        return
    if not runs:
        gr.HTML(NONE, elem_id="no-results")
        return
    first = next(iter(runs.values()))
    task = first.tasks[0]
    gr.HTML(SENTENCE)
    with gr.Row():
        titles = gr.Dropdown(list(runs), value=first.title, label="Run", elem_id="results-run")
        tasks = gr.Dropdown(first.tasks, value=task, label="Task", elem_id="results-task")
        metrics = gr.Dropdown(_choices(first, task), value=first.metrics(task)[0], label="Drawn", elem_id="results-metric")
    table, about, bars, trade_off, command = _views(first, task, first.metrics(task)[0])
    shown = [
        gr.Dataframe(table, interactive=False, elem_id="results-table", buttons=["copy", "fullscreen"]),
        gr.HTML(about, elem_id="results-about"),
    ]
    with gr.Row():
        shown.append(gr.Plot(bars, format="png", show_label=False, elem_id="results-bars"))
        shown.append(
            gr.Plot(trade_off, format="png", show_label=False, visible=trade_off is not None, elem_id="results-trade-off")
        )
    shown.append(
        gr.Code(
            command, language="shell", label="The command", interactive=False, wrap_lines=True, lines=1, elem_id="results-command"
        )
    )

    def views(title: str, task: str, metric: str) -> list:
        table, about, bars, trade_off, command = _views(runs[title], task, metric)
        return [table, about, bars, gr.update(value=trade_off, visible=trade_off is not None), command]

    def choose_run(title: str) -> list:
        run = runs[title]
        return [gr.update(choices=run.tasks, value=run.tasks[0]), *choose_task(title, run.tasks[0])]

    def choose_task(title: str, task: str) -> list:
        metric = runs[title].metrics(task)[0]
        return [gr.update(choices=_choices(runs[title], task), value=metric), *views(title, task, metric)]

    titles.input(choose_run, titles, [tasks, metrics, *shown], **PRIVATE)
    tasks.input(choose_task, [titles, tasks], [metrics, *shown], **PRIVATE)
    metrics.input(views, [titles, tasks, metrics], shown, **PRIVATE)


def _choices(run: archive.ArchivedRun, task: str) -> list[tuple[str, str]]:
    return [(metric_heading(metric), metric) for metric in run.metrics(task)]


def _views(run: archive.ArchivedRun, task: str, metric: str) -> tuple:
    """Values for the table, the line under it, the two plots and the command."""
    return run.table(task), _about(run, task), run.interval_plot(task, metric), run.trade_off(task), "\n".join(run.commands)


def _about(run: archive.ArchivedRun, task: str) -> str:
    """How many images of which size, when, and what the figures stand on."""
    settings, n = run.recipe.get("settings", {}), max(entry.n for entry in run.summary if entry.task == task)
    facts = [
        f"{n} images",
        f"{settings['size']} px" if "size" in settings else "",
        f"seed {settings.get('seed', 0)}",
        run.recipe.get("time", "")[:10],
    ]
    metrics = run.recipe.get("metrics", {})
    stands = "".join(
        f"<li>{html.escape(m['title'])}: {html.escape(m['library'])}; {html.escape(m['backbone'])}; "
        f"{html.escape(m['colour'])}</li>"
        for name, m in metrics.items()
        if name in run.metrics(task)
    )
    details = f"<details><summary>What the metrics stand on</summary><ul>{stands}</ul></details>" if stands else ""
    return f"<p>{html.escape(', '.join(filter(None, facts)))}</p>{details}"
