"""RUN/recipe.json: command, settings, versions and hashes of the weights, to repeat the run."""

import dataclasses
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict

from eval.benchmark.known_images import KnownImages, count_known_images
from eval.benchmark.settings import RunSettings
from eval.data.faces import Faces
from eval.data.lq_sets import task_description
from eval.metrics.registry import METRICS
from eval.metrics.weights import MetricSettings
from gpen.errors import GPENError
from gpen.models.download import file_hash
from gpen.version import __version__

PACKAGES = (
    "gpen",
    "torch",
    "numpy",
    "opencv-python",
    "scikit-image",
    "lpips",
    "pytorch-fid",
    "facenet-pytorch",
    "onnxruntime",
    "pillow",
    "pyiqa",
)
MUST_AGREE = ("size", "seed", "verify")  # settings that all rows of a table share
DEFINITION = ("library", "backbone", "colour")  # of a metric: the values of a column share them


class WeightFile(TypedDict):
    """A weight file."""

    path: str
    sha256: str


class Call(TypedDict):
    """One call of the command."""

    command: str
    time: str  # UTC, ISO 8601
    settings: dict[str, Any]  # RunSettings and "verify"


class Recipe(Call):
    """The content of recipe.json: the latest call, and the versions, tasks, files and metrics of all calls."""

    versions: dict[str, str | None]  # of Python, the commit of this project, and the packages
    data: str  # the source of the images, with the rows of a dataset of the Hub
    upscaled: int  # images whose ground truth was enlarged to the size of the run
    tasks: dict[str, str]  # by task: how its low-quality images are made
    weights: dict[str, list[WeightFile]]  # by method or metric
    metrics: dict[str, dict[str, Any]]  # by metric: how it is computed
    missing: dict[str, str]  # metric -> why it is not available
    trained: dict[str, int]  # method -> images of this run on which it was trained, see eval.benchmark.known_images
    chosen: dict[str, int]  # method or metric -> images of this run on which it was chosen
    earlier: list[Call]


def make_recipe(
    settings: RunSettings,
    metric_settings: MetricSettings,
    weights: dict[str, Path | None],  # by method
    metrics: Iterable[str],  # available metrics
    missing: dict[str, str],
    faces: Faces,
    upscaled: int,
) -> Recipe:
    """The recipe as JSON values."""
    metrics = list(metrics)
    files: dict[str, list[Path]] = {name: [path] for name, path in weights.items() if path}
    files |= {name: METRICS[name].weights(metric_settings) for name in metrics}
    known = count_known_images(files, faces)
    describe = ("title", "library", "backbone", "colour", "crop", "mode", "lower_better", "needs", "seen_in_training", "licence")
    return {
        "command": shlex.join(sys.orig_argv),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": dataclasses.asdict(settings) | {"verify": metric_settings.verify},
        "versions": {"python": platform.python_version(), "commit": _commit()}
        | {package: _version(package) for package in PACKAGES},
        "data": f"{len(faces.names)} images of {faces.description}",
        "upscaled": upscaled,
        "tasks": {task: task_description(task) for task in settings.tasks},
        "weights": {
            name: [{"path": str(path), "sha256": file_hash(path)} for path in paths] for name, paths in files.items() if paths
        },
        "metrics": {
            name: {key: getattr(METRICS[name], key) for key in describe} | {"version": _package_version(METRICS[name].package)}
            for name in metrics
        },
        "missing": missing,
        "trained": known.trained,
        "chosen": known.chosen,
        "earlier": [],
    }


def check_recipe(path: Path, recipe: Recipe) -> None:
    """Compare with the recipe in RUN, if it exists, and add the data of earlier calls to the new recipe.

    Raises GPENError if the rows of both would not be comparable.
    """
    if not path.is_file():
        return
    try:
        old = json.loads(path.read_text())
        settings, tasks, weights, metrics = old["settings"], old["tasks"], old["weights"], old["metrics"]
    except (ValueError, KeyError, TypeError) as error:
        raise GPENError(f"{path} is damaged; choose another --out.") from error
    for key in MUST_AGREE:
        if settings[key] != recipe["settings"][key]:
            raise GPENError(
                f"{path.parent} was measured with {key} {settings[key]}, not {recipe['settings'][key]}; choose another --out."
            )
    for name in weights.keys() & recipe["weights"].keys():
        if [file["sha256"] for file in weights[name]] != [file["sha256"] for file in recipe["weights"][name]]:
            raise GPENError(f"{path.parent} was measured with another weight file of {name}; choose another --out.")
    for name in metrics.keys() & recipe["metrics"].keys():
        changed = [key for key in DEFINITION if metrics[name][key] != recipe["metrics"][name][key]]
        if changed:
            raise GPENError(
                f"{path.parent} was measured with another {name} ({metrics[name][changed[0]]}, now "
                f"{recipe['metrics'][name][changed[0]]}); choose another --out."
            )
    recipe["tasks"] = tasks | recipe["tasks"]
    recipe["upscaled"] = max(old.get("upscaled", 0), recipe["upscaled"])
    recipe["weights"] = weights | recipe["weights"]
    recipe["trained"] = old.get("trained", {}) | recipe["trained"]
    recipe["chosen"] = old.get("chosen", {}) | recipe["chosen"]
    recipe["metrics"] = metrics | recipe["metrics"]
    call: Call = {"command": old["command"], "time": old["time"], "settings": settings}
    recipe["earlier"] = [*old.get("earlier", []), call]


def known_images(recipe: Recipe) -> KnownImages:
    """The images that the methods and metrics of all calls know."""
    return KnownImages(recipe["trained"], recipe["chosen"])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _package_version(package: str) -> str | None:
    """The version of a package of a metric; that of this project also if it is not installed."""
    return __version__ if package == "gpen" else _version(package)


def _commit() -> str | None:
    """The git commit of the source code, if it is in a repository."""
    folder = Path(__file__).resolve().parents[2]
    try:
        command = ["git", "rev-parse", "--verify", "--quiet", "HEAD"]
        git = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return git.stdout.strip() or None
