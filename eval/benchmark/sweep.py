"""Sweep of one degradation parameter with all others fixed, on single faces."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from eval.data.lq_sets import Sample
from eval.methods.registry import load_method
from eval.metrics.registry import compare
from gpen.degradation.degradation import Degradation

if TYPE_CHECKING:
    import pandas


def restore_with(
    face: np.ndarray,  # uint8 RGB [size, size, 3]
    degradation: Degradation,
    methods: Iterable[str],
) -> dict[str, np.ndarray]:
    """Degrade a face and restore it with each method, uint8 RGB [size, size, 3].

    Raises GPENError for an unknown method.
    """
    sample = Sample("face", degradation(face), degradation.target(face), degradation)
    return {name: load_method(name).restore([sample], len(face))[0] for name in methods}


def sweep(
    faces: Sequence[np.ndarray],  # uint8 RGB [size, size, 3] each
    parameter: str,  # a field of Degradation
    values: Sequence[float],
    methods: Sequence[str] = ("bilinear", "gpen"),
    metrics: Sequence[str] = ("psnr",),
    base: Degradation | None = None,  # the other parameters; None: no other degradation
) -> "pandas.DataFrame":
    """Measure methods for several values of a degradation parameter.

    Returns a row for each value ("x"), method and face, with the metrics that are available; `drawing.line_plot` plots it. Raises
    GPENError for an unknown method or metric, and for a value out of range.
    """
    import pandas

    loaded, rows = {name: load_method(name) for name in methods}, []
    for value in values:
        changed: dict[str, Any] = {parameter: value}
        degradation = replace(base or Degradation(), **changed)
        samples = [Sample(f"{k}", degradation(face), degradation.target(face), degradation) for k, face in enumerate(faces)]
        for name, method in loaded.items():
            for sample, image in zip(samples, method.restore(samples, len(faces[0])), strict=True):
                measured = compare(image, cast(np.ndarray, sample.truth), metrics)
                rows.append({"x": value, "method": name} | {k: v for k, v in measured.items() if not isinstance(v, str)})
    return pandas.DataFrame(rows)
