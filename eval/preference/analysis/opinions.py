"""Mean opinion scores of ratings, and their differences to a hidden reference."""

from typing import cast

import numpy as np

from eval.preference.analysis.bootstrap import column_means, finite
from eval.preference.storage.votes import Vote, face_of, first_answers
from eval.preference.study import RATINGS

REFERENCES = ("ground-truth", "reference")  # hidden references by name


def opinions(votes: list[Vote], over_faces: bool) -> dict[str, dict[str, float | None]]:
    """Mean opinion scores ("mos", "mos_low", "mos_high", "dmos") of each method; dmos is None without a hidden reference."""
    votes = first_answers(votes)
    names, column = _indices([vote.shown[0] for vote in votes])
    ratings = np.array([vote.choice for vote in votes], float)  # [n]
    face = _indices([face_of(vote.item) for vote in votes])[1] if over_faces else None
    mean, low, high = column_means(ratings, column, _indices([vote.rater for vote in votes])[1], face)
    differences = _differences_to_reference(votes)
    return {
        name: {
            "mos": float(mean[i]),
            "mos_low": finite(low[i]),
            "mos_high": finite(high[i]),
            "dmos": float(np.mean(differences[name])) if name in differences else None,
        }
        for i, name in enumerate(names)
    }


def _indices(names: list[str]) -> tuple[list[str], np.ndarray]:
    """(different names, index of each name)."""
    different, index = np.unique(names, return_inverse=True)
    return different.tolist(), index.ravel()


def _differences_to_reference(votes: list[Vote]) -> dict[str, list[float]]:
    reference = {(vote.rater, vote.item): vote.choice for vote in votes if vote.shown[0] in REFERENCES}
    differences: dict[str, list[float]] = {}
    for vote in votes:
        if (key := (vote.rater, vote.item)) in reference and vote.shown[0] not in REFERENCES:
            differences.setdefault(vote.shown[0], []).append(cast(int, vote.choice) - cast(int, reference[key]) + max(RATINGS))
    return differences
