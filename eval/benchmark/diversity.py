"""Diversity of variations (gpen.restoration.variations): how far variations of one input are from each other and from the truth.

A value is the mean over the pairs of a face, then over the faces, with the bootstrap 95% interval over the faces. The pairs:

    two variations             of the same input
    variation, default         variation and network output without perturbation
    default, ground truth      how far a restoration is from the truth
    variation, ground truth    the same for a variation
    two people                 ground truths of a face and the next, for comparison
"""

import itertools
from dataclasses import dataclass

import numpy as np

import gpen
from eval.benchmark.summary import SummaryEntry
from eval.data.faces import Faces
from eval.data.lq_sets import UNDEGRADED, degradation_for
from eval.metrics.registry import load_metrics
from eval.metrics.statistics import bootstrap_interval
from eval.metrics.weights import MetricSettings
from gpen.errors import GPENError
from gpen.images import resize_to
from gpen.models.network import GPEN
from gpen.restoration.variations import rms, vary

RMS = "RMS, 0 to 255"  # of the pixels; the other measures are metrics
METRIC_NAMES = ("squeezenet", "identity")


@dataclass(frozen=True)
class Diversity:
    """Result of `measure_diversity`.

    Attributes:
        entries: a mean for each kind of pair (in the place of the method) and each measure.
        variations: number of variations of a face.
        fits: PSNR to the input after downsampling in dB, of the variations and of the default output; means over the faces.
        missing: metric -> why it is not available.
    """

    entries: list[SummaryEntry]
    variations: int
    fits: tuple[float, float]
    missing: dict[str, str]


def measure_diversity(
    net: GPEN, faces: Faces, task: str, variations: int = 8, seed: int = 0, settings: MetricSettings | None = None
) -> Diversity:
    """Measure `variations` variations of each face, degraded as in the task of a run with the same seed.

    faces: of the size of the network. Raises GPENError for a task without a degradation, for fewer than two variations and for
    errors of `vary`.
    """
    if task in UNDEGRADED:
        raise GPENError(f"{task} has no degradation that is known; choose a task of super-resolution or blind restoration.")
    if variations < 2:
        raise GPENError(f"A distance needs at least 2 variations; got {variations}.")
    functions, missing = load_metrics(METRIC_NAMES, settings or MetricSettings())
    measures = {RMS: lambda a, b: [rms(x, y) for x, y in zip(a, b, strict=True)], **functions}
    restorer, truths, fits = gpen.Restorer(net), [], []
    values: dict[str, dict[str, list[float]]] = {}
    for name in faces.names:
        degradation = degradation_for(task, name, faces.size, seed)
        assert degradation is not None
        face = faces.load(name)
        truth, image = degradation.target(face), resize_to(degradation(face), net.size)
        plain = restorer.face(image, strength=1).image
        found = vary(net, image, plain, variations, seed)
        fits.append((float(np.mean(found.fits)), found.plain_fit))
        truths.append(truth)
        both = list(itertools.combinations(found.images, 2))
        pairs = {
            "two variations": ([a for a, _ in both], [b for _, b in both]),
            "variation, default": (found.images, [plain] * variations),
            "default, ground truth": ([plain], [truth]),
            "variation, ground truth": (found.images, [truth] * variations),
        }
        for pair, (a, b) in pairs.items():
            for measure, function in measures.items():
                values.setdefault(pair, {}).setdefault(measure, []).append(float(np.mean(function(a, b))))
    if len(truths) > 1:
        values["two people"] = {name: function(truths, [*truths[1:], truths[0]]) for name, function in measures.items()}
    entries = [
        SummaryEntry(task, pair, measure, float(np.mean(own)), *bootstrap_interval(np.array(own)), n=len(truths))
        for pair, row in values.items()
        for measure, own in row.items()
    ]
    own_fit, default_fit = np.mean(fits, axis=0)
    return Diversity(entries, variations, (float(own_fit), float(default_fit)), missing)
