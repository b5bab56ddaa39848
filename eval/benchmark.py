"""One run: every method restores every task's frozen images, every metric scores them; it can be resumed.

    RUN/summary.json  RUN/per_image.csv  RUN/recipe.json  RUN/lq/TASK/  RUN/restored/TASK/METHOD/ (with keep)
"""

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import torch
from tqdm import tqdm

from eval.datasets import Faces
from eval.files import png, write_atomically
from eval.frozen import BFR_TASKS, FSR_TASKS, FrozenSet, Sample, freeze
from eval.methods import Method, load_method
from eval.metrics import DEFAULT_METRICS, METRICS, MetricSettings, load_metrics
from eval.recipe import check_recipe, make_recipe
from eval.results import Features, Rows, measured_metrics
from eval.summary import TRUTH, summarise
from gpen.errors import GPENError

INPUT = "bilinear"  # the picture that a network is given


@dataclass(frozen=True)
class RunSettings:
    """What is measured. The baseline, the input and the ground truth are always among the methods."""

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


@dataclass(frozen=True)
class Scoring:
    """The metrics that can be computed, by name: functions of pairs, and of features for the set metrics."""

    pairs: dict
    sets: dict
    missing: dict[str, str]  # a sentence each

    @classmethod
    def load(cls, names: Iterable[str], settings: MetricSettings) -> "Scoring":
        functions, missing = load_metrics(names, settings)
        sets = {name: functions[name] for name in functions if METRICS[name].distance}
        return cls({name: functions[name] for name in functions if name not in sets}, sets, missing)


def run(settings: RunSettings, metric_settings: MetricSettings, quiet: bool = False) -> dict[str, str]:
    """Measure what RUN does not hold yet and write its files. Returns a sentence for each missing metric.

    A RUN may grow: later calls can add tasks, methods, images and metrics. Raises GPENError for a mistake of
    the user's: unknown names, unreadable images, a RUN made with another size, seed or weights.
    """
    methods = dict.fromkeys([settings.baseline, INPUT, *settings.methods, TRUTH])
    settings = replace(settings, methods=tuple(methods), tasks=_checked_tasks(settings.tasks))
    _check_machine(settings)
    faces = Faces.open(settings.data, settings.size, settings.limit)
    weights = {name: load_method(name, settings.device).weights for name in settings.methods}
    out = Path(settings.out)
    scoring = Scoring.load(dict.fromkeys([*settings.metrics, *measured_metrics(out)]), metric_settings)
    recipe = make_recipe(settings, metric_settings, weights, [*scoring.pairs, *scoring.sets], scoring.missing)
    check_recipe(out / "recipe.json", recipe)

    bar = _progress(quiet)
    frozen = {task: freeze(task, faces, out / "lq" / task, settings.seed, bar(f"{task}: freeze"))
              for task in settings.tasks}
    _write_json(out / "recipe.json", recipe)
    rows = Rows(out / "per_image.csv", scoring.pairs)
    with closing(Features(out / "features.sqlite")) as features:
        for task, images in frozen.items():
            for name in settings.methods:
                job = Job(settings, scoring, rows, features, task, name)
                job.measure(images, bar(f"{task}: {name}"))
        _write_json(out / "summary.json", summarise(rows, features, settings.baseline))
    return scoring.missing


@dataclass(frozen=True)
class Job:
    """One method on one task."""

    settings: RunSettings
    scoring: Scoring
    rows: Rows
    features: Features
    task: str
    name: str

    def measure(self, frozen: FrozenSet, bar) -> None:
        """Restore, score and store the images that are not done yet."""
        names = frozen.faces.names
        done = self._done()
        if done.issuperset(names):
            return
        method = load_method(self.name, self.settings.device)
        if method.weights:  # a network's first call is slow: not timed
            method.restore(list(frozen.samples(names[:1])), self.settings.size)
        for batch in bar(_batches(names, self.settings.batch)):
            # the whole batch even where some of it is done: a network's last digits depend on the batch
            if not done.issuperset(batch):
                self._measure_batch(method, list(frozen.samples(batch)), done)

    def _done(self) -> set[str]:
        done = {image for image, row in self.rows.get(self.task, self.name).items()
                if row.keys() >= self.scoring.pairs.keys()}
        for metric in self.scoring.sets:
            done &= self.features.images(metric, self.task, self.name)
        return {image for image in done if self._kept(image).is_file()} if self.settings.keep else done

    def _kept(self, image: str) -> Path:
        # quoted: a method's name may hold a path
        return Path(self.settings.out, "restored", self.task, quote(self.name, safe=""), f"{image}.png")

    def _measure_batch(self, method: Method, samples: list[Sample], done: set[str]) -> None:
        start = time.perf_counter()
        images = method.restore(samples, self.settings.size)
        seconds = (time.perf_counter() - start) / len(samples)
        names, truths = [sample.name for sample in samples], [sample.truth for sample in samples]
        values = {metric: score(images, truths) for metric, score in self.scoring.pairs.items()}
        features = {metric: function(images) for metric, function in self.scoring.sets.items()}

        new = [i for i, name in enumerate(names) if name not in done]
        for i in new if self.settings.keep else []:
            write_atomically(self._kept(names[i]), png(images[i]))
        for metric, vectors in features.items():
            self.features.add(metric, self.task, self.name, [names[i] for i in new], vectors[new])
        values["seconds"] = [seconds] * len(names)
        rows = {names[i]: {column: values[column][i] for column in values} for i in new}
        self.rows.append(self.task, self.name, rows)  # last: a row says that all else of its image is stored


def _checked_tasks(tasks: Iterable[str]) -> tuple[str, ...]:
    for task in tasks:
        if task not in FSR_TASKS and task not in BFR_TASKS:
            raise GPENError(f"there is no task {task!r}; choose from {', '.join([*FSR_TASKS, *BFR_TASKS])}")
    return tuple(dict.fromkeys(tasks))


def _check_machine(settings: RunSettings) -> None:
    if settings.batch < 1:
        raise GPENError(f"--batch {settings.batch} is out of range; choose 1 or more")
    try:
        torch.empty(0, device=settings.device)
    except (RuntimeError, AssertionError) as error:
        raise GPENError(f"--device {settings.device} is not available here; choose cpu") from error


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
