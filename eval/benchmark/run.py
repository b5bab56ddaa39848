"""A benchmark run: every method restores the LQ set of every task, every metric measures the results.

    RUN/summary.json  RUN/per_image.csv  RUN/recipe.json  RUN/lq/TASK/  RUN/restored/TASK/METHOD/ (with keep)

`run` is prepare (check the settings, build the LQ sets), measure (restore and score what RUN does not contain yet) and finish
(summary). An interrupted run resumes; python -m eval run also writes the reports, RUN/summary.md and RUN/summary.tex.

With several processes (accelerate launch -m eval run ...) process r of p computes the batches r, r + p, ... and writes to
RUN/parts/r; process 0 merges the parts. The batches do not depend on the number of processes, because the last digits of a
network's output depend on the batch; the merged table therefore equals that of a single process.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from tqdm import tqdm

from eval.benchmark.profiling import measure as measure_cost
from eval.benchmark.provenance import Recipe, check_recipe, make_recipe
from eval.benchmark.restoration_cache import RestorationCache
from eval.benchmark.settings import RunSettings
from eval.benchmark.store import SECONDS, Row, RunStore, merge_parts
from eval.benchmark.summary import GROUND_TRUTH, summarise
from eval.data.decoded import DecodedImages
from eval.data.faces import SAMPLE_SOURCE, Faces
from eval.data.image_files import ImageFile
from eval.data.lq_sets import INPAINT, PAIRED, TASKS, UNDEGRADED, WILD, LQSet, Sample, build_lq_set
from eval.data.paired import Pairs
from eval.data.protocols import find_protocol
from eval.methods.registry import INPAINTING_METHODS, NON_BLIND, Method, load_method, parse_method
from eval.metrics.registry import METRICS, is_per_image, load_metrics, needs_ground_truth
from eval.metrics.weights import MetricSettings
from gpen.errors import GPENError
from gpen.images import write_atomically, write_image
from gpen.training.runtime.parallel import Distributed

INPUT = "bilinear"  # the input of a network: the LQ image resized to the size of the ground truth
NETWORKS = ("gpen", "unet", "spandrel", "onnx")  # methods with a warm-up pass before the time is measured
ProgressBar = Callable[[str], Callable[[Iterable], Iterator]]


@dataclass(frozen=True)
class TaskMetrics:
    """The available metrics of one task.

    per_image holds functions by metric, networks the feature extractors by the key of their features.
    """

    per_image: dict[str, Callable]
    networks: dict[str, Callable]

    @classmethod
    def select(cls, functions: dict[str, Callable], task: str) -> "TaskMetrics":
        """Select the metrics that the task has images for. Raises GPENError if there are none."""
        selected = {name: f for name, f in functions.items() if task != WILD or not needs_ground_truth(name)}
        if functions and not selected:
            choice = ", ".join(name for name in METRICS if not needs_ground_truth(name))
            raise GPENError(f"The task wild has no ground truth; choose --metrics from {choice}.")
        per_image = {name: f for name, f in selected.items() if is_per_image(name)}
        return cls(per_image, {METRICS[name].features: f for name, f in selected.items() if name not in per_image})

    def score(self, metric: str, images: list[np.ndarray], samples: list[Sample]) -> list[float]:
        """One value per image."""
        targets = [[sample.truth for sample in samples]] if needs_ground_truth(metric) else []
        return self.per_image[metric](images, *targets)


@dataclass
class Missing:
    """What RUN does not contain yet of one image, task and method."""

    columns: set[str] = field(default_factory=set)  # of per_image.csv
    networks: set[str] = field(default_factory=set)  # whose features are missing
    file: bool = False  # the restored image

    def __bool__(self) -> bool:
        return bool(self.columns or self.networks or self.file)


@dataclass(frozen=True)
class Plan:
    """A checked run with its LQ sets and metrics, before the first image is restored."""

    settings: RunSettings
    metric_settings: MetricSettings
    group: Distributed
    device: str
    lq_sets: dict[str, LQSet]  # by task
    metrics: dict[str, TaskMetrics]  # by task
    columns: list[str]  # metrics with one value per image
    recipe: Recipe
    missing_metrics: dict[str, str]  # metric -> why it is not available
    decoded: DecodedImages  # the ground truth
    bar: ProgressBar

    @property
    def out(self) -> Path:
        return Path(self.settings.out)

    def methods(self, task: str) -> list[str]:
        """The methods of a task; wild has no ground truth."""
        return [name for name in self.settings.methods if task != WILD or name != GROUND_TRUTH]


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


def prepare(settings: RunSettings, metric_settings: MetricSettings, quiet: bool = False) -> Plan:
    """Check the settings, load the metrics, build the LQ sets and write the recipe."""
    labels = {parse_method(name).label: name for name in settings.methods}
    baseline = labels.get(settings.baseline, settings.baseline)  # the baseline may be given by its label
    methods = dict.fromkeys([baseline, INPUT, *settings.methods, GROUND_TRUTH])
    settings = replace(settings, methods=tuple(methods), tasks=_checked_tasks(settings.tasks), baseline=baseline)
    _check(settings)
    group, out = Distributed(settings.device), Path(settings.out)
    device = "cpu" if group.device.type == "cpu" else str(group.device)  # weights cannot be loaded to "cpu:0" of accelerate
    weights = {name: load_method(name, device).weights for name in settings.methods}  # before a download of the data
    faces, given = _open_data(settings)
    if settings.protocol:
        find_protocol(settings.protocol).check_run(len(faces.names), settings.size, settings.tasks)
    names = dict.fromkeys([*settings.metrics, *_measured_metrics(out)])
    functions, missing = load_metrics(names, replace(metric_settings, device=device))
    metrics = {task: TaskMetrics.select(functions, task) for task in settings.tasks}
    upscaled = 0 if set(settings.tasks) == {WILD} else faces.check_native_size()
    columns = [name for name in functions if is_per_image(name)]
    recipe = make_recipe(settings, metric_settings, weights, functions, missing, faces, upscaled)
    check_recipe(out / "recipe.json", recipe)
    if not quiet and group.rank == 0:
        which = " (the sample faces of this package; choose others with --data)" if settings.data == SAMPLE_SOURCE else ""
        print(f"Faces: {len(faces.names)} of {settings.data}{which}, {settings.size} px", file=sys.stderr)
    decoded = DecodedImages(out, settings.size)
    faces = faces.with_decoded(decoded)

    bar = _progress(quiet or group.rank > 0)
    if group.rank == 0:
        merge_parts(out)  # of an interrupted run with several processes
    else:
        group.wait()  # until process 0 has written the LQ sets and the recipe
    lq_sets = {
        task: build_lq_set(
            task, faces, out / "lq" / task, settings.seed, bar(f"{task}: LQ set"), given if task == PAIRED else None
        )
        for task in settings.tasks
    }
    if group.rank == 0:
        RunStore.open(out, columns).close()  # writes the header
        _write_json(out / "recipe.json", recipe)
        group.wait()
    return Plan(settings, metric_settings, group, device, lq_sets, metrics, columns, recipe, missing, decoded, bar)


def _open_data(settings: RunSettings) -> tuple[Faces, dict[str, ImageFile]]:
    """The ground truth, and the low-quality files of the task paired by the names of their faces."""
    if bool(settings.lq) != (PAIRED in settings.tasks):
        raise GPENError("The task paired and --lq, its low-quality images, belong together; give both or none.")
    if not settings.lq:
        return Faces.open(settings.data, settings.size, settings.limit, allow_upscaled=settings.allow_upscaled), {}
    pairs = Pairs.open(
        settings.lq, settings.data, settings.match, settings.size, settings.limit, allow_upscaled=settings.allow_upscaled
    )
    return pairs.faces, pairs.inputs


def measure(plan: Plan) -> None:
    """Restore and measure the images of this process that RUN does not contain yet."""
    group = plan.group
    with ExitStack() as stack:
        done = stack.enter_context(closing(RunStore.open(plan.out, plan.columns)))
        part = done
        if group.processes > 1:
            part = stack.enter_context(closing(RunStore.open(plan.out / "parts" / str(group.rank), plan.columns)))
        for task in plan.lq_sets:
            for name in plan.methods(task):
                MethodRun(plan, task, name, done, part).measure()


def finish(plan: Plan) -> None:
    """Merge the parts of several processes and write the summary."""
    merge_parts(plan.out)
    with closing(RunStore.open(plan.out, ())) as store:
        store.rows.compact()
        set_metrics = [name for name in METRICS if name in plan.recipe["metrics"] and not is_per_image(name)]
        bar, chosen = plan.bar("distances"), plan.recipe["chosen"]
        upscaled = plan.recipe["upscaled"]
        summary = summarise(store, plan.settings.baseline, set_metrics, plan.metric_settings, chosen, bar, upscaled)
    _write_json(plan.out / "summary.json", [entry.to_dict() for entry in summary])


@dataclass(frozen=True)
class MethodRun:
    """One method on one task.

    done is the content of RUN, part the store of this process; for one process they are the same.
    """

    plan: Plan
    task: str
    name: str
    done: RunStore
    part: RunStore

    def measure(self) -> None:
        """Restore, measure and store the images of this process that are not complete."""
        lq_set, group, size = self.plan.lq_sets[self.task], self.plan.group, self.plan.settings.size
        names, missing = lq_set.faces.names, self._missing()
        # complete batches even if some of their images are done: the last digits of a network's output depend on the batch
        batches = [batch for batch in _batches(names, self.plan.settings.batch) if any(missing[name] for name in batch)]
        batches = batches[group.rank :: group.processes]
        if not batches:
            return
        method = load_method(self.name, self.plan.device)
        cache = RestorationCache.open(self.plan.settings.cache, self.name, method)
        if parse_method(self.name).kind in NETWORKS:
            method.restore(list(lq_set.samples(names[:1])), size)
        for batch in self.plan.bar(f"{self.task}: {self.name}")(batches):
            self._measure_batch(method, cache, list(lq_set.samples(batch)), [missing[name] for name in batch])

    def _missing(self) -> dict[str, Missing]:
        """What is missing of each image."""
        metrics, rows = self.plan.metrics[self.task], self.done.rows.get(self.task, self.name)
        stored = {network: self.done.features.images(network, self.task, self.name) for network in metrics.networks}
        return {
            name: Missing(
                {column for column in (*metrics.per_image, SECONDS) if column not in rows.get(name, {})},
                {network for network, images in stored.items() if name not in images},
                self.plan.settings.keep and not self._file(name).is_file(),
            )
            for name in self.plan.lq_sets[self.task].faces.names
        }

    def _file(self, image: str) -> Path:
        # quoted, because the name of a method can contain a path
        return self.plan.out / "restored" / self.task / quote(self.name, safe="") / f"{image}.png"

    def _measure_batch(self, method: Method, cache: RestorationCache, samples: list[Sample], missing: list[Missing]) -> None:
        images, seconds = self._restore(method, cache, samples)
        metrics, names = self.plan.metrics[self.task], [sample.name for sample in samples]
        columns = set().union(*(m.columns for m in missing))
        networks = set().union(*(m.networks for m in missing))
        values = {metric: metrics.score(metric, images, samples) for metric in metrics.per_image if metric in columns}
        values[SECONDS] = seconds
        features = {network: extract(images) for network, extract in metrics.networks.items() if network in networks}

        for name, image, m in zip(names, images, missing, strict=True):
            if m.file:
                write_image(self._file(name), image)
        for network, vectors in features.items():
            new = [i for i, m in enumerate(missing) if network in m.networks]
            self.part.features.add(network, self.task, self.name, [names[i] for i in new], vectors[new])
        old = self.done.rows.get(self.task, self.name)
        rows = {name: _row(values, i, old.get(name, {})) for i, name in enumerate(names) if missing[i]}
        self.part.rows.append(self.task, self.name, rows)  # last: a row implies that the features of the image are stored

    def _restore(self, method: Method, cache: RestorationCache, samples: list[Sample]) -> tuple[list[np.ndarray], list[float]]:
        """(results, seconds of each), from the cache if it contains the complete batch."""
        size = self.plan.settings.size
        if found := cache.get(samples, size):
            return found
        images, cost = measure_cost(lambda: method.restore(samples, size), self.plan.device)
        seconds = cost.seconds / len(samples)
        cache.put(samples, images, seconds)
        self.part.features.update_peaks(self.task, self.name, cost.peaks)
        return images, [seconds] * len(samples)


def _row(values: dict[str, list[float]], i: int, old: Row) -> Row:
    """The values of image i; those of the old row have priority."""
    return {column: of_images[i] for column, of_images in values.items()} | old


def _checked_tasks(tasks: Iterable[str]) -> tuple[str, ...]:
    for task in tasks:
        if task not in TASKS:
            raise GPENError(f"Unknown task {task!r}; choose from {', '.join(TASKS)}.")
    return tuple(dict.fromkeys(tasks))


def _check(settings: RunSettings) -> None:
    if settings.batch < 1:
        raise GPENError(f"--batch {settings.batch} is out of range; choose 1 or more.")
    non_blind = [name for name in settings.methods if parse_method(name).kind in NON_BLIND]
    undegraded = [task for task in settings.tasks if task in UNDEGRADED]
    if undegraded and non_blind:
        raise GPENError(f"{non_blind[0]} needs the degradation, which the task {undegraded[0]} does not have; remove it.")
    inpainting = [name for name in settings.methods if parse_method(name).kind in INPAINTING_METHODS]
    if inpainting and set(settings.tasks) != {INPAINT}:
        raise GPENError(f"{inpainting[0]} needs a mask, which only the task inpaint has; remove it.")
    try:
        torch.empty(0, device=settings.device)
    except (RuntimeError, AssertionError) as error:
        raise GPENError(f"--device {settings.device} is not available; choose cpu.") from error


def _measured_metrics(out: Path) -> list[str]:
    """The metrics with values in RUN; none if it does not exist."""
    path = out / "recipe.json"
    try:
        return [name for name in json.loads(path.read_text())["metrics"] if name in METRICS] if path.is_file() else []
    except (ValueError, KeyError, TypeError):
        return []  # check_recipe raises the error


def _batches(names: list[str], size: int) -> list[list[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _write_json(path: Path, value: object) -> None:
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def _progress(quiet: bool) -> ProgressBar:
    """bar(label)(iterable): the iterable with a progress bar on standard error."""

    def bar(label: str) -> Callable[[Iterable], Iterator]:
        return lambda items: iter(tqdm(items, desc=label, disable=quiet, leave=False))

    return bar
