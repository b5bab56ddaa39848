"""Noise images and simulated raters, for the tests and for bench/raters.py."""

import numpy as np

from eval.preference.storage.votes import Vote
from eval.preference.study import TrialKind
from eval.preference.survey import new_code
from gpen.images import encode, write_atomically

METHODS = ("a", "b", "c", "d")


def noise_image(seed, size=(32, 32)):
    """uint8 RGB [h, w, 3] of noise."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def write_folders(root, items=5, methods=METHODS):
    """Write folders of images below root: one per method, inputs, ground truth.

    Returns the arguments of from_folders.
    """
    for m, folder in enumerate([*methods, "inputs", "truth"]):
        for i in range(items):
            size = (8, 8) if folder == "inputs" else (32, 32)
            write_atomically(root / folder / f"face{i}.png", encode(noise_image(100 * m + i, size)))
    return {"results": {method: root / method for method in methods}, "inputs": root / "inputs", "truth": root / "truth"}


def rate(survey, choose, answers=1000, ms=900):
    """Simulate the session of a rater who answers each trial with `choose(methods displayed)`.

    Returns the rater's code.
    """
    code = new_code()
    survey.consent(code)
    for k in range(answers):
        trials = survey.next(code, 1)
        if not trials:
            break
        shown = survey.study.order(survey.study.trial(trials[0]["trial"]), survey.rater(code))
        survey.answer(code, id=f"answer-{k:04}", trial=trials[0]["trial"], choice=choose(shown), ms=ms)
    return code


def simulate(rng, strength, nu, raters, answers, pairs=None):
    """(wins, ties) [r, m, m] of raters who follow Davidson's model.

    Each rater gives `answers` answers to random pairs.
    """
    m = len(strength)
    pairs = np.array(pairs if pairs is not None else [(i, j) for i in range(m) for j in range(i)])
    a, b = pairs[rng.integers(len(pairs), size=(raters, answers))].transpose(2, 0, 1)  # [r, answers]
    half = (strength[a] - strength[b]) / 2
    up, down = np.exp(half), np.exp(-half)
    draw = rng.random(a.shape) * (up + down + nu)
    rater = np.broadcast_to(np.arange(raters)[:, None], a.shape)
    wins, ties = np.zeros((2, raters, m, m))
    for won, winner, loser in ((draw < up, a, b), ((draw >= up) & (draw < up + down), b, a)):
        np.add.at(wins, (rater[won], winner[won], loser[won]), 1)
    tied = draw >= up + down
    for i, j in ((a, b), (b, a)):
        np.add.at(ties, (rater[tied], i[tied], j[tied]), 1)
    return wins, ties


def vote(rater="r", item="i", left="a", right="b", choice="left", trial="", ms=1000, gold=False, study="s", time=""):
    """A vote for a pair."""
    expected = gold if isinstance(gold, str) else ""
    kind = TrialKind.GOLD if gold else TrialKind.ORDINARY
    return Vote(study, rater, trial, item, [left, right], choice, ms, kind, time, expected=expected)


def votes_of(wins, ties, names, prefix="r"):
    """Votes with these tables [r, m, m], with both orders of the methods."""
    votes = []
    for rater in range(len(wins)):
        for i, j in np.argwhere(wins[rater] + np.triu(ties[rater])):
            for k in range(int(wins[rater, i, j])):
                left, right, choice = (names[i], names[j], "left") if k % 2 else (names[j], names[i], "right")
                votes.append(vote(f"{prefix}{rater}", f"item{k}", left, right, choice, f"{i}-{j}-{k}"))
            for k in range(int(ties[rater, i, j]) if i < j else 0):
                votes.append(vote(f"{prefix}{rater}", f"item{k}", names[i], names[j], ["tie", "both_bad"][k % 2], f"{i}={j}={k}"))
    return votes
