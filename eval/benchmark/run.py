"""A benchmark run: every method restores the LQ set of every task, every metric measures the results.

    RUN/summary.json  RUN/per_image.csv  RUN/recipe.json  RUN/lq/TASK/  RUN/restored/TASK/METHOD/ (with keep)

`run` is prepare (check the settings, build the LQ sets), measure (restore and score what RUN does not contain yet) and finish
(summary). An interrupted run resumes; python -m eval run also writes the reports, RUN/summary.md and RUN/summary.tex.

With several processes (accelerate launch -m eval run ...) process r of p computes the batches r, r + p, ... and writes to
RUN/parts/r; process 0 merges the parts. The batches do not depend on the number of processes, because the last digits of a
network's output depend on the batch; the merged table therefore equals that of a single process.
"""

from contextlib import closing

from eval.benchmark.measurement import measure
from eval.benchmark.plan import Plan, prepare
from eval.benchmark.provenance import known_images
from eval.benchmark.settings import RunSettings
from eval.benchmark.store import RunStore, merge_parts, write_json
from eval.benchmark.summary import summarise
from eval.metrics.registry import METRICS, is_per_image
from eval.metrics.weights import MetricSettings


def run(settings: RunSettings, metric_settings: MetricSettings, quiet: bool = False) -> dict[str, str]:
    """Measure what RUN does not contain yet and write its files.

    Returns a message for each metric that is not available.

    Later calls can add tasks, methods, images and metrics to RUN. Raises GPENError for unknown names, for images that cannot be
    read, and for a RUN that was made with another size, seed or weight file.
    """
    plan = prepare(settings, metric_settings, quiet)
    with closing(plan.decoded):
        measure(plan)
    plan.group.wait()
    if plan.group.rank == 0:
        finish(plan)
    return plan.missing_metrics


def finish(plan: Plan) -> None:
    """Merge the parts of several processes and write the summary."""
    merge_parts(plan.out)
    with closing(RunStore.open(plan.out, ())) as store:
        store.rows.compact()
        set_metrics = [name for name in METRICS if name in plan.recipe["metrics"] and not is_per_image(name)]
        known, bar, upscaled = known_images(plan.recipe), plan.bar("distances"), plan.recipe["upscaled"]
        summary = summarise(store, plan.settings.baseline, set_metrics, plan.metric_settings, known, bar, upscaled)
    write_json(plan.out / "summary.json", [entry.to_dict() for entry in summary])
