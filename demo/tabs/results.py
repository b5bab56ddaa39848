"""The Results tab: tables and plots of archived runs (assets/results/*.json).

`python -m eval archive RUN assets/results/NAME.json` archives a run.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import gradio as gr

from demo import languages
from demo.server.events import LAST
from demo.tabs.plots import svg
from eval.data.lq_sets import task_label
from eval.report import archive
from eval.report.tables import metric_label
from gpen.errors import GPENError

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


def tab(folder: str | Path = archive.RESULTS) -> None:
    """Build the tab inside the current gr.Blocks from the archived runs in `folder`, blind restoration first."""
    try:
        runs = {run.title: run for run in archive.read_all(folder)}
    except GPENError as error:
        gr.HTML(f"<p>{html.escape(str(error))}</p>", elem_id="no-results")
        return
    if not runs:
        gr.HTML(languages.html("results.none_html", tag="p"), elem_id="no-results")
        return
    first = next(iter(runs.values()))
    choices = [(heading, run.title) for heading, run in archive.headings(runs.values()).items()]
    task = first.tasks[0]
    gr.HTML(languages.html("results.heading", tag="h2") + languages.html("results.intro", tag="p"))
    with gr.Row():
        titles = gr.Dropdown(
            choices, value=first.title, label=languages.text("results.run"), min_width=260, elem_id="results-run"
        )
        tasks = gr.Dropdown(
            _labelled(first.tasks), value=task, label=languages.text("results.task"), min_width=260, elem_id="results-task"
        )
        metrics = gr.Dropdown(
            _choices(first, task), value=first.metrics(task)[0], label=languages.text("results.metric"), min_width=260,
            elem_id="results-metric",
        )  # fmt: skip
    table, about, bars, trade_off, command = _views(first, task, first.metrics(task)[0])
    shown = [
        gr.Dataframe(table, interactive=False, pinned_columns=1, elem_id="results-table", buttons=["copy", "fullscreen"]),
        gr.HTML(about, elem_id="results-about"),
    ]
    with gr.Row():
        shown.append(gr.HTML(bars, min_width=320, elem_id="results-bars"))
        shown.append(gr.HTML(trade_off, min_width=320, visible=bool(trade_off), elem_id="results-trade-off"))
    shown.append(
        gr.Code(
            command,
            language="shell",
            label=languages.text("results.command"),
            interactive=False,
            wrap_lines=True,
            lines=1,
            elem_id="results-command",
        )
    )

    def views(title: str, task: str, metric: str) -> list:
        table, about, bars, trade_off, command = _views(runs[title], task, metric)
        return [table, about, bars, gr.update(value=trade_off, visible=bool(trade_off)), command]

    def choose_run(title: str) -> list:
        run = runs[title]
        return [gr.update(choices=_labelled(run.tasks), value=run.tasks[0]), *choose_task(title, run.tasks[0])]

    def choose_task(title: str, task: str) -> list:
        metric = runs[title].metrics(task)[0]
        return [gr.update(choices=_choices(runs[title], task), value=metric), *views(title, task, metric)]

    titles.input(choose_run, titles, [tasks, metrics, *shown], **LAST, **PRIVATE)
    tasks.input(choose_task, [titles, tasks], [metrics, *shown], **LAST, **PRIVATE)
    metrics.input(views, [titles, tasks, metrics], shown, **LAST, **PRIVATE)


def _labelled(tasks: list[str]) -> list[tuple[str, str]]:
    return [(task_label(task), task) for task in tasks]


def _choices(run: archive.ArchivedRun, task: str) -> list[tuple[str, str]]:
    return [(metric_label(metric), metric) for metric in run.metrics(task)]


def _views(run: archive.ArchivedRun, task: str, metric: str) -> tuple:
    """Return values for the table, the line below it, the two plots and the command."""
    bars = svg(run.interval_plot(task, metric), "results.intervals", metric=metric_label(metric))
    figure = run.trade_off(task)
    trade_off = svg(figure, "results.trade_off") if figure else ""
    return run.table(task), _about(run, task), bars, trade_off, "\n".join(run.commands)


def _about(run: archive.ArchivedRun, task: str) -> str:
    """Return the number, degradation and size of the images, the date, the claims, and how metrics are computed, as HTML."""
    settings, n = run.recipe.get("settings", {}), max(entry.n for entry in run.summary if entry.task == task)
    facts = [
        languages.html("results.images", n=n),
        html.escape(run.recipe.get("tasks", {}).get(task, "")),
        html.escape(f"{settings['size']} px") if "size" in settings else "",
        languages.html("results.seed", seed=settings.get("seed", 0)),
        html.escape(run.recipe.get("time", "")[:10]),
    ]
    metrics = run.recipe.get("metrics", {})
    metric_items = "".join(
        f"<li>{html.escape(m['title'])}: {html.escape(m['library'])}; {html.escape(m['backbone'])}; "
        f"{html.escape(m['colour'])}</li>"
        for name, m in metrics.items()
        if name in run.metrics(task)
    )
    how = languages.html("results.how", tag="summary")
    details = f"<details>{how}<ul>{metric_items}</ul></details>" if metric_items else ""
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in run.notes(task))
    return f"<p>{', '.join(filter(None, facts))}</p>{notes}{details}"
