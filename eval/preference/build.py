"""Creates a study from a run with kept images, or from folders of images with equal names.

Every image is decoded and stored as PNG under the hash of its content: names, formats and metadata do not reveal the method.
Gold trials are built by golds.py.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import numpy as np

from eval.data.image_files import by_name, find_images
from eval.data.lq_sets import FSR_TASKS, task_label
from eval.options import Text, option
from eval.preference.golds import build_golds, default_gold_every
from eval.preference.storage.images import size_of, store_image, store_input
from eval.preference.study import FORMAT, MANIFEST, PROTOCOLS, SEVERITIES, Protocol, Study
from gpen.errors import GPENError
from gpen.images import ReadableFile, read_image, write_atomically

PARAMS = "params.json"  # in the folder of the inputs of a run: their degradations
GROUND_TRUTH = "ground-truth"  # name of the method in a run of eval
MAX_RANKED = 6  # images in a ranking
INSTRUCTIONS = {
    "pairwise": "Two restorations of one degraded face: choose the one that looks better to you, as a photograph of this person. "
    "Say tie if you see no difference that matters, both bad if you would keep neither.",
    "rating": "Rate the quality of each image: 5 excellent, 4 good, 3 fair, 2 poor, 1 bad.",
    "ranking": "Order the restorations of one degraded face from the best to the worst.",
}
CONSENT = (
    "You take part as a volunteer and may stop at any time. We store your choices, how long each took, and a random code that "
    "your browser keeps: no name, no address, nothing about you or your device. The answers may be published. With the code you "
    "can delete all your answers on this page whenever you like."
)


@dataclass(frozen=True)
class StudySettings:
    """Settings of a study, which are also options of python -m eval study build."""

    title: str = "Which restoration is better?"
    """title of the page"""
    protocol: Annotated[str, option("|".join(PROTOCOLS))] = "pairwise"
    """question of a trial: compare two images, rate one from 1 to 5, or rank all"""
    instructions: Annotated[Text | None, option(default="those of the protocol")] = None
    """text file with the instructions for raters"""
    consent: Annotated[Text, option(default="a text that names what is stored")] = CONSENT
    """text file with the consent of raters"""
    answers: Annotated[int | None, option("N", "3 for each of its trials")] = None
    """answers per item, 1 or more"""
    repeats: float = 0.1
    """fraction of the trials of a rater that are repeated, 0 to 0.5"""
    gold_every: Annotated[int | None, option("N", "8 gold trials in a session, at most every third trial")] = None
    """one gold trial per this many trials, 1 or more; 0: none"""
    session: Annotated[int, option("N")] = 40
    """trials per rater, 1 or more"""
    pause: Annotated[int, option("N")] = 20
    """trials between two suggested pauses, 1 or more"""
    training: Annotated[int, option("N")] = 2
    """training trials before the first trial, 0 or more"""
    seed: int = 0
    """seed of the choice of gold trials, an integer"""


@dataclass(frozen=True)
class Source:
    """The files of an item before the study is built."""

    id: str
    results: Mapping[str, ReadableFile]
    input: ReadableFile | None = None
    truth: ReadableFile | None = None
    degradation: dict | None = None
    level: str | None = None


def from_run(
    run: str | Path, tasks: tuple[str, ...] = (), methods: tuple[str, ...] = (), limit: int | None = None
) -> list[Source]:
    """Collect the kept images of a RUN.

    Every task and every method, the ground truth only if it is in `methods`. Raises GPENError if RUN kept no images, if an image
    of a method is missing, and for unknown names.
    """
    run = Path(run)
    restored = run / "restored"
    found = tuple(sorted(path.name for path in restored.iterdir() if path.is_dir())) if restored.is_dir() else ()
    if not found:
        raise GPENError(f"{run} has no restored images; create it with python -m eval run ... --keep.")
    sources = []
    for task in tasks or found:
        if task not in found:
            raise GPENError(f"{run} has no images of the task {task!r}; choose from {', '.join(found)}.")
        params = _params(run / "lq" / task / PARAMS)
        names = sorted(params)[:limit]
        wanted = methods or _kept_methods(run, restored / task)
        for name, level in zip(names, _levels(task, [params[name]["degradation"] for name in names]), strict=True):
            results = {method: restored / task / quote(method, safe="") / f"{name}.png" for method in wanted}
            _check_files(results)
            truth = restored / task / GROUND_TRUTH / f"{name}.png"
            sources.append(
                Source(
                    f"{task}/{name}",
                    results,
                    run / "lq" / task / f"{name}.png",
                    truth if truth.is_file() else None,
                    params[name]["degradation"],
                    level,
                )
            )
    return sources


def from_folders(
    results: Mapping[str, str | Path], inputs: str | Path | None = None, truth: str | Path | None = None, limit: int | None = None
) -> list[Source]:
    """Collect images of equal names from folders, one folder per method.

    The degradations are read from params.json in the folder of the inputs, as a run of eval writes it, where there is one.
    Raises GPENError for a missing image.
    """
    folders = {method: by_name(find_images(folder, "--results")) for method, folder in results.items()}
    sides = {side: by_name(find_images(folder, f"--{side}")) for side, folder in (("inputs", inputs), ("truth", truth)) if folder}
    named = folders | sides
    names = sorted(set().union(*named.values()))
    params = _params(Path(inputs) / PARAMS) if inputs and (Path(inputs) / PARAMS).is_file() else {}
    for name in names:
        if missing := [label for label, files in named.items() if name not in files]:
            existing = next(files[name] for files in named.values() if name in files)
            raise GPENError(
                f"{missing[0]} has no image named {name!r}, but {existing} exists; add, rename or remove one of them."
            )
    return [
        Source(
            name,
            {method: files[name] for method, files in folders.items()},
            sides.get("inputs", {}).get(name),
            sides.get("truth", {}).get(name),
            params.get(name, {}).get("degradation"),
        )
        for name in names[:limit]
    ]


def build(sources: list[Source], out: str | Path, settings: StudySettings) -> Study:
    """Write the study and open it. Raises GPENError for invalid settings and images."""
    out = Path(out)
    if not sources:
        raise GPENError("A study needs at least one item; give folders that contain images.")
    methods = _methods(sources, settings)
    _check_settings(settings, methods)
    if (out / MANIFEST).exists():
        raise GPENError(f"{out} already contains a study; choose another --out.")
    trials_per_item = {Protocol.PAIRWISE: math.comb(len(methods), 2), Protocol.RATING: len(methods), Protocol.RANKING: 1}
    trials = len(sources) * trials_per_item[Protocol(settings.protocol)]
    session = min(settings.session, trials)
    gold_every = default_gold_every(session) if settings.gold_every is None else settings.gold_every
    truths = [(source.id, source.truth, source.input) for source in sources if source.truth]
    count = math.ceil(session / gold_every) if gold_every else 0
    golds, training = build_golds(truths, out, count, settings.training, settings.seed)
    items = [_item(source, out, settings) for source in sources]
    manifest = {
        "format": FORMAT,
        "name": "",
        "title": settings.title,
        "protocol": settings.protocol,
        "instructions": settings.instructions or INSTRUCTIONS[settings.protocol],
        "consent": settings.consent,
        "methods": methods,
        "reference": GROUND_TRUTH if settings.protocol == Protocol.RATING and GROUND_TRUTH in methods else None,
        "seed": settings.seed,
        "answers": settings.answers or 3 * trials // len(items),
        "repeats": settings.repeats,
        "gold_every": gold_every,
        "session": session,
        "pause": settings.pause,
        "items": items,
        "golds": golds,
        "training": training,
    }
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    manifest["name"] = f"{out.resolve().name}-{digest[:6]}"
    write_atomically(out / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    return Study.open(out)


def _params(path: Path) -> dict[str, dict]:
    try:
        return json.loads(path.read_text())["images"]
    except (OSError, ValueError, KeyError) as error:
        raise GPENError(f"{path} is missing or damaged; run python -m eval run again.") from error


def _kept_methods(run: Path, folder: Path) -> tuple[str, ...]:
    """The methods in the order of the recipe that have kept images."""
    try:
        named = json.loads((run / "recipe.json").read_text())["settings"]["methods"]
    except (OSError, ValueError, KeyError) as error:
        raise GPENError(f"{run}/recipe.json is missing or damaged; run python -m eval run again.") from error
    return tuple(name for name in named if name != GROUND_TRUTH and (folder / quote(name, safe="")).is_dir())


def _check_files(results: dict[str, Path]) -> None:
    for method, path in results.items():
        if not path.is_file():
            raise GPENError(
                f"The image {path} of the method {method} is missing; run python -m eval run ... --keep for every method."
            )


def _levels(task: str, degradations: list[dict | None]) -> list[str]:
    """Level of each image: the task, for super-resolution with its operator; for blind tasks one of three severities by blur."""
    if task in FSR_TASKS or None in degradations or len(degradations) < len(SEVERITIES):
        return [task_label(task)] * len(degradations)
    blurs = np.array([effective_blur(degradation) for degradation in degradations if degradation is not None])  # [n]
    third = np.searchsorted(np.quantile(blurs, [1 / 3, 2 / 3]), blurs, side="right")
    return [f"{task} {SEVERITIES[i]}" for i in third]


def effective_blur(degradation: dict) -> float:
    """Standard deviation of the blur with downsampling, px of the original (a box of width s: s^2 / 12)."""
    blur, scale = degradation.get("blur_sigma") or 0, max(degradation.get("scale") or 1, 1)
    second = degradation.get("blur_sigma_y")
    blur_squared = (blur**2 + second**2) / 2 if second is not None else blur**2
    return math.sqrt(blur_squared + (scale**2 - 1) / 12)


def _methods(sources: list[Source], settings: StudySettings) -> list[str]:
    methods = list(sources[0].results)
    if odd := next((source for source in sources if set(source.results) != set(methods)), None):
        raise GPENError(
            f"{odd.id} has results of {', '.join(odd.results)}, not of {', '.join(methods)}; give results of all methods."
        )
    if settings.protocol == Protocol.RATING and GROUND_TRUTH not in methods and all(source.truth for source in sources):
        methods.append(GROUND_TRUTH)  # hidden reference
    return methods


def _check_settings(settings: StudySettings, methods: list[str]) -> None:
    if settings.protocol not in PROTOCOLS:
        raise GPENError(f"Unknown protocol {settings.protocol!r}; choose from {', '.join(PROTOCOLS)}.")
    if len(methods) < 2:
        raise GPENError("A study needs at least two methods; give more.")
    if settings.protocol == Protocol.RANKING and len(methods) > MAX_RANKED:
        raise GPENError(f"A ranking has at most {MAX_RANKED} methods, not {len(methods)}; give fewer, or choose pairwise.")
    for name, low in (("answers", 1), ("session", 1), ("pause", 1), ("gold_every", 0), ("training", 0)):
        value = getattr(settings, name)
        if value is not None and value < low:
            raise GPENError(f"--{name.replace('_', '-')} {value} is out of range; choose {low} or more.")
    if not 0 <= settings.repeats <= 0.5:
        raise GPENError(f"--repeats {settings.repeats} is out of range; choose a value from 0 to 0.5.")


def _item(source: Source, out: Path, settings: StudySettings) -> dict:
    paths = dict(source.results)
    if settings.protocol == Protocol.RATING and source.truth:
        paths.setdefault(GROUND_TRUTH, source.truth)
    images = {method: read_image(path) for method, path in paths.items()}
    first = next(iter(images))
    for method, image in images.items():
        if image.shape != images[first].shape:
            raise GPENError(
                f"{paths[method]} has {size_of(image)} px, but {paths[first]} has {size_of(images[first])}; "
                "resize the results of an item to one size."
            )
    stored = {method: store_image(image, out) for method, image in images.items()}
    return {
        "id": source.id,
        "input": store_input(source.input, images[first], out),
        "results": stored,
        "width": images[first].shape[1],
        "height": images[first].shape[0],
        "level": source.level,
        "degradation": source.degradation,
    }
