"""The plan of a run: checked settings, the LQ sets, the metrics of each task, and the recipe."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from eval.benchmark.known_images import known_sentences
from eval.benchmark.provenance import Recipe, check_recipe, environment_of, known_images, make_recipe
from eval.benchmark.settings import RunSettings
from eval.benchmark.store import RunStore, merge_parts, write_json
from eval.benchmark.summary import GROUND_TRUTH
from eval.data.decoded import DecodedImages
from eval.data.faces import SAMPLE_SOURCE, Faces
from eval.data.image_files import ImageFile
from eval.data.lq_sets import INPAINT, PAIRED, TASKS, UNDEGRADED, WILD, LQSet, Sample, build_lq_set, given_name
from eval.data.paired import Pairs
from eval.data.protocols import find_protocol
from eval.methods.registry import INPAINTING_METHODS, NON_BLIND, load_method, parse_method
from eval.metrics.registry import METRICS, is_per_image, load_metrics, needs_ground_truth
from eval.metrics.weights import MetricSettings
from gpen.environment import environment_id
from gpen.errors import GPENError
from gpen.folder_lock import lock_folder
from gpen.training.runtime.parallel import Distributed

INPUT = "bilinear"  # the input of a network: the LQ image resized to the size of the ground truth
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
    environment: str  # id
    bar: ProgressBar

    @property
    def out(self) -> Path:
        return Path(self.settings.out)

    def methods(self, task: str) -> list[str]:
        """The methods of a task; wild has no ground truth."""
        return [name for name in self.settings.methods if task != WILD or name != GROUND_TRUTH]


def prepare(settings: RunSettings, metric_settings: MetricSettings, stack: ExitStack, quiet: bool = False) -> Plan:
    """Check the settings, load the metrics, build the LQ sets and write the recipe; `stack` holds the lock of RUN."""
    labels = {parse_method(name).label: name for name in settings.methods}
    baseline = labels.get(settings.baseline, settings.baseline)  # the baseline may be given by its label
    methods = dict.fromkeys([baseline, INPUT, *settings.methods, GROUND_TRUTH])
    settings = replace(settings, methods=tuple(methods), tasks=_checked_tasks(settings.tasks), baseline=baseline)
    _check(settings)
    group, out = Distributed(settings.device), Path(settings.out)
    device = "cpu" if group.device.type == "cpu" else str(group.device)  # weights cannot be loaded to "cpu:0" of accelerate
    weights, checks = {}, []
    for name in settings.methods:  # before a download of the data
        method = load_method(name, device)
        weights[name] = method.weights
        checks.append(method.check)
    faces, given = _open_data(settings)
    for check in checks:
        check({name: given_name(given[name]) if name in given else "" for name in faces.names})
    if settings.protocol:
        find_protocol(settings.protocol).check_run(len(faces.names), settings.size, settings.tasks)
    names = dict.fromkeys([*settings.metrics, *_measured_metrics(out)])
    functions, missing = load_metrics(names, replace(metric_settings, device=device))
    metrics = {task: TaskMetrics.select(functions, task) for task in settings.tasks}
    upscaled = 0 if set(settings.tasks) == {WILD} else faces.check_native_size()
    columns = [name for name in functions if is_per_image(name)]
    measured_in = environment_of(device, settings.batch)
    recipe = make_recipe(settings, metric_settings, weights, functions, missing, faces, upscaled, measured_in)
    if group.rank == 0:
        stack.enter_context(lock_folder(out))
    changed = check_recipe(out / "recipe.json", recipe)
    if changed and group.rank == 0:
        print(f"{out} was measured in another environment ({changed}): its reports say so.", file=sys.stderr)
    if not quiet and group.rank == 0:
        which = " (the sample faces of this package; choose others with --data)" if settings.data == SAMPLE_SOURCE else ""
        print(f"Faces: {len(faces.names)} of {settings.data}{which}, {settings.size} px", file=sys.stderr)
        for sentence in known_sentences(known_images(recipe), len(faces.names)):
            print(sentence, file=sys.stderr)
    decoded = stack.enter_context(closing(DecodedImages(out, settings.size)))
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
        write_json(out / "recipe.json", recipe)
        group.wait()
    return Plan(
        settings, metric_settings, group, device, lq_sets, metrics, columns, recipe, missing, environment_id(measured_in), bar
    )


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


def _progress(quiet: bool) -> ProgressBar:
    """bar(label)(iterable): the iterable with a progress bar on standard error."""

    def bar(label: str) -> Callable[[Iterable], Iterator]:
        return lambda items: iter(tqdm(items, desc=label, disable=quiet, leave=False))

    return bar
