"""Tiny pictures, and raters who are simulated: here and in bench/raters.py, nowhere else."""

import numpy as np

from eval.files import png, write_atomically
from eval.preference.survey import new_code

METHODS = ("a", "b", "c", "d")


def picture(seed, size=(32, 32)):
    """uint8 RGB [h, w, 3] of noise."""
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def write_folders(root, items=5, methods=METHODS):
    """Folders of pictures below root: one of each method, inputs, truth. The arguments of from_folders."""
    for m, folder in enumerate([*methods, "inputs", "truth"]):
        for i in range(items):
            size = (8, 8) if folder == "inputs" else (32, 32)
            write_atomically(root / folder / f"face{i}.png", png(picture(100 * m + i, size)))
    return {"results": {method: root / method for method in methods}, "inputs": root / "inputs", "truth": root / "truth"}


def rate(survey, choose, answers=1000, ms=900):
    """One rater's session: `choose(shown methods)` answers each trial. The rater's code."""
    code = new_code()
    survey.consent(code)
    for k in range(answers):
        asked = survey.next(code, 1)
        if not asked:
            break
        shown = survey.study.order(survey.study.trial(asked[0]["trial"]), survey.rater(code))
        survey.answer(code, id=f"answer-{k:04}", trial=asked[0]["trial"], choice=choose(shown), ms=ms)
    return code


def simulate(rng, strength, nu, raters, answers, pairs=None):
    """(wins, ties) [r, m, m] of raters who follow Davidson's model, each giving `answers` to pairs drawn at random."""
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
    return {
        "study": study,
        "rater": rater,
        "trial": trial,
        "item": item,
        "left": left,
        "right": right,
        "choice": choice,
        "ms": ms,
        "gold": gold,
        "time": time,
    }


def votes_of(wins, ties, names, prefix="r"):
    """Votes that have these tables [r, m, m], sides mixed."""
    votes = []
    for rater in range(len(wins)):
        for i, j in np.argwhere(wins[rater] + np.triu(ties[rater])):
            for k in range(int(wins[rater, i, j])):
                left, right, choice = (names[i], names[j], "left") if k % 2 else (names[j], names[i], "right")
                votes.append(vote(f"{prefix}{rater}", f"item{k}", left, right, choice, f"{i}-{j}-{k}"))
            for k in range(int(ties[rater, i, j]) if i < j else 0):
                votes.append(vote(f"{prefix}{rater}", f"item{k}", names[i], names[j], ["tie", "both_bad"][k % 2], f"{i}={j}={k}"))
    return votes
