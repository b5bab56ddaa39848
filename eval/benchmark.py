"""One run: every method restores every task's frozen images, every metric scores them; it can be resumed.

    RUN/summary.json .md .tex  RUN/per_image.csv  RUN/recipe.json  RUN/lq/TASK/  RUN/restored/TASK/METHOD/ (with keep)

In several processes (accelerate launch -m eval run ...) process r of p takes batches r, r + p, ... and writes to RUN/parts/r;
process 0 merges. Batches are whole whatever the number of processes, for a network's last digits depend on the batch: so the
merged table is the single one.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import torch
from tqdm import tqdm

from eval.datasets import Faces
from eval.files import png, write_atomically
from eval.frozen import INPAINT, TASKS, UNDEGRADED, WILD, FrozenSet, Sample, freeze
from eval.meter import measure
from eval.methods import FILLERS, Method, load_method
from eval.metrics import DEFAULT_METRICS, METRICS, load_metrics, needs_truth, per_image
from eval.recipe import check_recipe, make_recipe
from eval.report import write_reports
from eval.restored import Restored
from eval.results import Held, Row, merge_parts
from eval.summary import TRUTH, summarise
from eval.weights import MetricSettings
from gpen.errors import GPENError
from gpen.training.parallel import Group

INPUT = "bilinear"  # the picture that a network is given
NETWORKS = ("gpen", "unet", "spandrel")  # their first pass is slow, and one more costs little: it is not timed


@dataclass(frozen=True)
class RunSettings:
    """What is measured. The baseline, the input and, outside the wild, the ground truth are always among the methods."""

    data: str
    out: str
    methods: tuple[str, ...] = ("bilinear", "gpen")
    tasks: tuple[str, ...] = ("fsr8",)
    metrics: tuple[str, ...] = DEFAULT_METRICS
    size: int = 256  # px, of the true images
    limit: int | None = None  # the first so many images by name; None takes all
    seed: int = 0
    keep: bool = False  # write the restored images
    baseline: str = "bilinear"
    batch: int = 8  # images restored and scored at a time
    device: str = "cpu"
    cache: str | None = None  # folder of results by content, which runs may share; None remembers nothing


@dataclass(frozen=True)
class Scoring:
    """The metrics of one task that can be computed: functions by name, and networks by the name of their features."""

    values: dict[str, Callable]
    networks: dict[str, Callable]

    @classmethod
    def of(cls, functions: dict[str, Callable], task: str) -> "Scoring":
        """Of all that can be computed, what the task has images for. Raises GPENError where that is nothing."""
        fitting = {name: f for name, f in functions.items() if task != WILD or not needs_truth(name)}
        if functions and not fitting:
            choice = ", ".join(name for name in METRICS if not needs_truth(name))
            raise GPENError(f"run wild has no true images to compare with; choose among --metrics {choice}")
        values = {name: f for name, f in fitting.items() if per_image(name)}
        return cls(values, {METRICS[name].features: f for name, f in fitting.items() if name not in values})

    def score(self, metric: str, images: list[np.ndarray], samples: list[Sample]) -> list[float]:
        truths = [[sample.truth for sample in samples]] if needs_truth(metric) else []
        return self.values[metric](images, *truths)


def run(settings: RunSettings, metric_settings: MetricSettings, quiet: bool = False) -> dict[str, str]:
    """Measure what RUN does not hold yet and write its files. Returns a sentence for each missing metric.

    A RUN may grow: later calls can add tasks, methods, images and metrics. Raises GPENError for a mistake of
    the user's: unknown names, unreadable images, a RUN made with another size, seed or weights.
    """
    methods = dict.fromkeys([settings.baseline, INPUT, *settings.methods, TRUTH])
    settings = replace(settings, methods=tuple(methods), tasks=_checked_tasks(settings.tasks))
    _check(settings)
    group, out = Group(settings.device), Path(settings.out)
    device = "cpu" if group.device.type == "cpu" else str(group.device)  # accelerate's cpu:0 is no place to load weights to
    weights = {name: load_method(name, device).weights for name in settings.methods}  # a wrong name is told before a long fetch
    faces = Faces.open(settings.data, settings.size, settings.limit)
    metrics = dict.fromkeys([*settings.metrics, *_measured_metrics(out)])
    functions, missing = load_metrics(metrics, replace(metric_settings, device=device))
    scoring = {task: Scoring.of(functions, task) for task in settings.tasks}
    recipe = make_recipe(settings, metric_settings, weights, functions, missing)
    check_recipe(out / "recipe.json", recipe)

    bar = _progress(quiet or group.rank > 0)
    if group.rank == 0:
        merge_parts(out)  # of several processes that were stopped
    else:
        group.wait()  # for that, and for the frozen images
    frozen = {task: freeze(task, faces, out / "lq" / task, settings.seed, bar(f"{task}: freeze")) for task in settings.tasks}
    columns = [name for name in functions if per_image(name)]
    with closing(Held.open(out, columns)) as held:
        if group.rank == 0:
            _write_json(out / "recipe.json", recipe)
            group.wait()
        home = held if group.processes == 1 else Held.open(out / "parts" / str(group.rank), columns)
        for task, images in frozen.items():
            for name in _methods(settings, task):
                Job(settings, scoring[task], held, home, task, name, device).measure(images, group, bar(f"{task}: {name}"))
        if home is not held:
            home.close()
    group.wait()
    if group.rank == 0:
        _finish(settings, metric_settings, recipe, bar)
    return missing


def _finish(settings: RunSettings, metric_settings: MetricSettings, recipe: dict, bar: Callable) -> None:
    """Merge what processes have measured, and write the summary and the reports."""
    out = Path(settings.out)
    merge_parts(out)
    with closing(Held.open(out, ())) as held:
        held.rows.settle()
        held.rows.write_parquet()
        sets = [name for name in METRICS if name in recipe["metrics"] and not per_image(name)]
        _write_json(out / "summary.json", summarise(held, settings.baseline, sets, metric_settings, bar("distances")))
    write_reports(out)


@dataclass(frozen=True)
class Job:
    """One method on one task. `held` is what RUN has, `home` where this process writes: the same, if it is the only one."""

    settings: RunSettings
    scoring: Scoring
    held: Held
    home: Held
    task: str
    name: str
    device: str

    def measure(self, frozen: FrozenSet, group: Group, bar: Callable) -> None:
        """Restore, score and store this process's share of the images that are not done yet."""
        names, lacking = frozen.faces.names, self._lacking(frozen.faces.names)
        # the whole batch even where some of it is done: a network's last digits depend on the batch
        batches = [batch for batch in _batches(names, self.settings.batch) if any(lacking[name] for name in batch)]
        if not batches[group.rank :: group.processes]:
            return
        method = load_method(self.name, self.device)
        cache = Restored.open(self.settings.cache, self.name, method)
        if self.name.partition(":")[0] in NETWORKS:
            method.restore(list(frozen.samples(names[:1])), self.settings.size)
        for batch in bar(batches[group.rank :: group.processes]):
            self._measure_batch(method, cache, list(frozen.samples(batch)), [lacking[name] for name in batch])

    def _lacking(self, names: list[str]) -> dict[str, set[str]]:
        """What each image has no value, no features or no file of."""
        rows = self.held.rows.get(self.task, self.name)
        have = {network: self.held.store.images(network, self.task, self.name) for network in self.scoring.networks}
        lacking = {}
        for name in names:
            lacking[name] = {metric for metric in [*self.scoring.values, "seconds"] if metric not in rows.get(name, {})}
            lacking[name] |= {network for network, images in have.items() if name not in images}
            if self.settings.keep and not self._kept(name).is_file():
                lacking[name].add("file")
        return lacking

    def _kept(self, image: str) -> Path:
        # quoted: a method's name may hold a path
        return Path(self.settings.out, "restored", self.task, quote(self.name, safe=""), f"{image}.png")

    def _measure_batch(self, method: Method, cache: Restored, samples: list[Sample], lacking: list[set[str]]) -> None:
        images, seconds = self._restore(method, cache, samples)
        wanted, names = set().union(*lacking), [sample.name for sample in samples]
        values = {metric: self.scoring.score(metric, images, samples) for metric in self.scoring.values if metric in wanted}
        values["seconds"] = seconds
        features = {name: f(images) for name, f in self.scoring.networks.items() if name in wanted}

        for name, image, lacks in zip(names, images, lacking, strict=True):
            if "file" in lacks:
                write_atomically(self._kept(name), png(image))
        for network, vectors in features.items():
            missing = [i for i, lacks in enumerate(lacking) if network in lacks]
            self.home.store.add(network, self.task, self.name, [names[i] for i in missing], vectors[missing])
        rows = self.held.rows.get(self.task, self.name)
        new = {name: _row(values, i, rows.get(name, {})) for i, name in enumerate(names) if lacking[i]}
        self.home.rows.append(self.task, self.name, new)  # last: a row says that all else of its image is stored

    def _restore(self, method: Method, cache: Restored, samples: list[Sample]) -> tuple[list[np.ndarray], list[float]]:
        """(results, seconds of each), from the cache where it has them all."""
        size = self.settings.size
        if found := cache.get(samples, size):
            return found
        images, cost = measure(lambda: method.restore(samples, size), self.device)
        seconds = cost.seconds / len(samples)
        cache.put(samples, images, seconds)
        self.home.store.raise_peaks(self.task, self.name, cost.peaks)
        return images, [seconds] * len(samples)


def _row(values: dict[str, list[float]], i: int, old: Row) -> Row:
    """Image i's values, with those that it had before."""
    return {metric: column[i] for metric, column in values.items()} | old


def _methods(settings: RunSettings, task: str) -> list[str]:
    return [name for name in settings.methods if task != WILD or name != TRUTH]


def _checked_tasks(tasks: Iterable[str]) -> tuple[str, ...]:
    for task in tasks:
        if task not in TASKS:
            raise GPENError(f"there is no task {task!r}; choose from {', '.join(TASKS)}")
    return tuple(dict.fromkeys(tasks))


def _check(settings: RunSettings) -> None:
    if settings.batch < 1:
        raise GPENError(f"--batch {settings.batch} is out of range; choose 1 or more")
    oracles = [name for name in settings.methods if name.startswith("oracle-")]
    untold = [task for task in settings.tasks if task in UNDEGRADED]
    if untold and oracles:
        raise GPENError(f"{oracles[0]} is told the degradation, and {untold[0]} has none to tell; leave it out")
    fillers = [name for name in settings.methods if name.partition(":")[0] in FILLERS]
    if fillers and set(settings.tasks) != {INPAINT}:
        raise GPENError(f"{fillers[0]} fills in what a mask hides, and no task but inpaint has one; leave it out")
    try:
        torch.empty(0, device=settings.device)
    except (RuntimeError, AssertionError) as error:
        raise GPENError(f"--device {settings.device} is not available here; choose cpu") from error


def _measured_metrics(out: Path) -> list[str]:
    """The metrics that a RUN, which need not exist yet, holds figures of."""
    path = out / "recipe.json"
    try:
        return [name for name in json.loads(path.read_text())["metrics"] if name in METRICS] if path.is_file() else []
    except (ValueError, KeyError, TypeError):
        return []  # check_recipe says what is wrong with it


def _batches(names: list[str], size: int) -> list[list[str]]:
    return [names[start : start + size] for start in range(0, len(names), size)]


def _write_json(path: Path, value: list | dict) -> None:
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def _progress(quiet: bool):
    """bar(label)(iterable): the iterable with a progress bar on standard error."""

    def bar(label: str):
        def wrapped(items: Iterable) -> Iterator:
            return iter(tqdm(items, desc=label, disable=quiet, leave=False))

        return wrapped

    return bar
