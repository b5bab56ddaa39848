"""Noise images and simulated raters."""

import json
from collections import Counter

import numpy as np

from bench import intervals
from eval.preference.storage.votes import Vote
from eval.preference.study import TrialKind
from eval.preference.survey import new_code
from gpen.images import encode, write_atomically

METHODS = ("a", "b", "c", "d")
ITEMS = 40  # of simulated votes
NAMES = ["bilinear", "gfpgan", "gpen"]  # of simulated votes
TRUE = np.array([-0.8, 0.1, 0.7])  # their strengths


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


def shown_methods(survey, code, trial):
    """The methods of a trial of the page, in the order that the rater sees."""
    return survey.study.order(survey.study.trial(trial["trial"]), survey.rater(code))


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
        choice = choose(shown_methods(survey, code, trials[0]))
        survey.answer(code, id=f"answer-{k:04}", trial=trials[0]["trial"], choice=choice, ms=ms)
    return code


def simulate(rng, strength, nu, raters, answers, pairs=None):
    """(wins, ties) [r, m, m] of raters who follow Davidson's model.

    Each rater gives `answers` answers to random pairs.
    """
    simulated = intervals.simulate(rng, strength, nu, np.full(raters, answers), pairs=None if pairs is None else np.array(pairs))
    return simulated.tables(np.eye(raters)[:, simulated.rater])


def vote(rater="r", item="i", left="a", right="b", choice="left", trial="", ms=1000, gold=False, study="s", time=""):
    """A vote for a pair."""
    expected = gold if isinstance(gold, str) else ""
    kind = TrialKind.GOLD if gold else TrialKind.ORDINARY
    return Vote(study, rater, trial, item, [left, right], choice, ms, kind, time, expected=expected)


def votes_of(wins, ties, names, prefix="r"):
    """Votes with these tables [r, m, m], with both orders of the methods; a rater answers each question once."""
    votes = []
    for rater in range(len(wins)):
        asked = Counter()

        def add(i, j, k, *answer, rater=rater, asked=asked):
            pair = min(i, j), max(i, j)
            item, asked[pair] = (asked[pair] + rater) % ITEMS, asked[pair] + 1
            votes.append(vote(f"{prefix}{rater}", f"item{item}", *answer, f"{i}-{j}-{k}"))

        for i, j in np.argwhere(wins[rater] + np.triu(ties[rater])):
            for k in range(int(wins[rater, i, j])):
                add(i, j, k, *((names[i], names[j], "left") if k % 2 else (names[j], names[i], "right")))
            for k in range(int(ties[rater, i, j]) if i < j else 0):
                add(i, j, f"tie{k}", names[i], names[j], ["tie", "both_bad"][k % 2])
    return votes


def lines(votes):
    """The votes as the text of votes.jsonl."""
    return "".join(json.dumps(one.to_dict()) + "\n" for one in votes)


def rating(rater, item, method, value, **more):
    """A rating."""
    return Vote.from_dict({"rater": rater, "item": item, "method": method, "rating": value, **more})
