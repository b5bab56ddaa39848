"""Scores by degradation: for each parameter, the votes on weakly and on strongly degraded items.

The items are divided at the value of the parameter that makes the numbers of comparisons of both halves most equal. A slice has
the same rules as the whole: with too few raters or comparisons it has no strengths, and states what is missing.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from eval.preference.analysis.strengths import MethodScore, Need, StrengthTable
from eval.preference.storage.votes import Comparisons

SLICE_RESAMPLES = 250  # of the bootstrap; the error of a standard error is 4.5%, and the eight slices take as long as two tables


@dataclass(frozen=True)
class Parameter:
    """A parameter of a degradation. off: the value that stands for a step that is turned off; weak: whether low values are."""

    off: float
    weak: bool = True


PARAMETERS = {
    "blur_sigma": Parameter(0),
    "scale": Parameter(1),
    "noise_sigma": Parameter(0),
    "jpeg_quality": Parameter(101, weak=False),  # above the best quality
}


class Slice(TypedDict):
    """The scores of the items whose parameter is from `low` to `high`; None: the step of the degradation is turned off."""

    low: float | None
    high: float | None
    votes: int  # answers that count
    items: int
    raters: int
    methods: dict[str, MethodScore]  # best first; the strengths of a slice have mean zero
    groups: list[list[str]]
    needed: list[Need]


def degradation_slices(
    pairs: Comparisons, degradations: Mapping[str, dict | None], votes: Counter[str], min_faces: int | None
) -> dict[str, list[Slice]]:
    """The slices of each parameter, the weakly degraded items first; no entry for a parameter that is equal in all items.

    degradations: parameters by item, as Degradation.to_dict; items without them are in no slice. votes: answers by item.
    min_faces: faces needed for intervals over faces; None: intervals over raters alone.
    """
    found = {}
    for name, parameter in PARAMETERS.items():
        values = np.array([_value(degradations.get(item), name, parameter) for item in pairs.items])  # [items], NaN: unknown
        cut = _cut(values[pairs.item])
        if cut is None:
            continue
        halves = [values <= cut, values > cut]  # [items]
        found[name] = [
            _slice(pairs, values, half, parameter, votes, min_faces) for half in (halves if parameter.weak else halves[::-1])
        ]
    return found


def _value(degradation: dict | None, name: str, parameter: Parameter) -> float:
    if degradation is None:
        return np.nan
    value = degradation.get(name)
    return parameter.off if value is None else float(value)


def _cut(values: np.ndarray) -> float | None:
    """The value up to which the lower half reaches, from the values [n] of the comparisons; None for fewer than two values."""
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    if len(distinct) < 2:
        return None
    below = np.cumsum(counts)[:-1]
    return float(distinct[np.argmin(np.abs(2 * below - counts.sum()))])


def _slice(
    pairs: Comparisons,
    values: np.ndarray,  # [items]
    half: np.ndarray,  # [items]
    parameter: Parameter,
    votes: Counter[str],
    min_faces: int | None,
) -> Slice:
    selected = pairs.select(half[pairs.item])
    over_faces = min_faces is not None and len(np.unique(selected.face)) >= min_faces
    table = StrengthTable(selected, over_faces, SLICE_RESAMPLES)
    low, high = (None if value == parameter.off else float(value) for value in (values[half].min(), values[half].max()))
    return {
        "low": low,
        "high": high,
        "votes": sum(votes[item] for item in selected.items),
        "items": len(selected.items),
        "raters": len(selected.raters),
        "methods": table.methods(),
        "groups": [group.names for group in table.groups],
        "needed": table.needs(),
    }
