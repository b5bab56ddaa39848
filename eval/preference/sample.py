"""The sample study in assets/study: python -m eval study sample --out assets/study

The sample faces of gpen.faces.samples, degraded by several presets and restored by clearly different methods with the default
model.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from eval.benchmark.run import run
from eval.benchmark.settings import RunSettings
from eval.data.faces import SAMPLE_SOURCE
from eval.metrics.weights import MetricSettings
from eval.preference.build import Source, StudySettings, build, from_run
from eval.preference.study import Study

METHODS = {  # name in the study -> name in the registry of methods
    "bilinear": "bilinear",
    "nlm": "nlm",
    "nonblind-rl": "nonblind-rl",
    "gpen": "gpen",
    "gpen-0.5": "gpen:?strength=0.5",
}
TASKS = ("bfr-gpen-release-scaled", "bfr-codeformer-3")
SEEDS = (0, 1)  # of the degradations
SIZE = 192  # px; small because the study is part of the repository
SETTINGS = StudySettings(title="Which restoration is better?", session=24, pause=12, training=2)


def build_sample_study(out: str | Path) -> Study:
    """Run the methods in a temporary folder and build the study.

    Raises GPENError if `out` contains a study.
    """
    with tempfile.TemporaryDirectory() as folder:
        sources = [source for seed in SEEDS for source in _sources(Path(folder, str(seed)), seed)]
        return build(sources, out, SETTINGS)


def _sources(folder: Path, seed: int) -> list[Source]:
    """Run the methods with a seed. The items of one face have the same name after the slash, so that they count as one face."""
    methods = tuple(METHODS.values())
    run(
        RunSettings(SAMPLE_SOURCE, str(folder), methods, TASKS, ("psnr",), size=SIZE, seed=seed, keep=True),
        MetricSettings(),
        quiet=True,
    )
    return [
        replace(
            source,
            id=source.id.replace("/", f"-{seed}/"),
            results={name: source.results[method] for name, method in METHODS.items()},
        )
        for source in from_run(folder, TASKS, methods)
    ]
