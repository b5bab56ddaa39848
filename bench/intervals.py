"""Coverage of the intervals of a preference study, by simulation: python -m bench.intervals

Raters follow Davidson's model with equal mean strengths: the true differences are zero. Every face changes the strengths of the
methods by normal effects, every rater too, and raters give unequal numbers of answers. A nominal 95% interval of a difference
should contain zero in 95% of the studies, over new faces and new raters.

    raters only    bootstrap over raters, faces fixed
    pigeonhole     product of resampled raters and resampled faces (A. B. Owen, AOAS 2007)
    two-way        eval/preference/analysis/bootstrap.py, which the scores use
"""

import itertools
import sys
import time
from dataclasses import dataclass

import numpy as np

from bench.common.harness import RESULTS, write_results
from eval.preference.analysis import bradley_terry
from eval.preference.analysis.bootstrap import Spread
from eval.preference.analysis.strengths import strength_spread
from eval.preference.storage.votes import Comparisons
from gpen.cli.parsing import Folder, parse
from gpen.errors import exit_status

NU = 0.5  # tie parameter of the simulated raters
INTERVALS = ("raters only", "pigeonhole", "two-way")


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    studies: int = 500  # simulated studies per row, at least 1
    resamples: int = 200  # bootstrap replicates per study, at least 10
    methods: int = 4  # methods in a study, at least 2
    designs: int = 8  # rows of the table, the first of those in the repository, 1 to 8
    out: Folder = RESULTS  # folder for intervals.json


def simulate(
    rng: np.random.Generator,
    strength: np.ndarray,  # [m], mean strengths
    nu: float,
    answers: np.ndarray,  # [r], answers of each rater
    faces: int = 40,
    face_sd: float = 0.0,
    rater_sd: float = 0.0,
    pairs: np.ndarray | None = None,  # [p, 2] pairs of methods to ask; all by default
) -> Comparisons:
    """Simulate answers to random pairs on random faces.

    face_sd, rater_sd: standard deviations of the effects of faces and of raters on the strength of a method.
    """
    m, n = len(strength), int(answers.sum())
    if pairs is None:
        pairs = np.array(list(itertools.combinations(range(m), 2)))
    rater = np.repeat(np.arange(len(answers)), answers)  # [n]
    item, (a, b) = rng.integers(faces, size=n), pairs[rng.integers(len(pairs), size=n)].T
    own = strength + rng.normal(0, face_sd, (faces, m))[item] + rng.normal(0, rater_sd, (len(answers), m))[rater]  # [n, m]
    rows = np.arange(n)
    half = (own[rows, a] - own[rows, b]) / 2
    up, down = np.exp(half), np.exp(-half)
    draw = rng.random(n) * (up + down + nu)
    outcome = np.where(draw < up, 1, np.where(draw < up + down, -1, 0))
    names = [[f"{name}{i}" for i in range(size)] for name, size in (("m", m), ("r", len(answers)), ("i", faces))]
    return Comparisons(names[0], names[1], names[2], rater, item, a, b, outcome)


def pigeonhole_spread(pairs: Comparisons, resamples: int, seed: int) -> Spread:
    """Spread of the strengths by the pigeonhole bootstrap, with the degrees of freedom of the two-way intervals."""
    rng, (raters, faces) = np.random.default_rng(seed), (len(pairs.raters), len(pairs.items))
    over_raters, over_faces = (rng.multinomial(size, np.full(size, 1 / size), resamples) for size in (raters, faces))
    weights = over_raters[:, pairs.rater] * over_faces[:, pairs.item]  # [b, n]
    strengths = bradley_terry.fit(*pairs.tables(weights.astype(float))).strength
    return Spread(np.cov(strengths, rowvar=False)[None], min(raters, faces) - 1)


def coverage(raters: int, faces: int, face_sd: float, rater_sd: float, options: Options, seed: int = 0) -> dict:
    """Coverage of zero and mean width of the intervals of all differences, by kind of interval."""
    rng = np.random.default_rng(seed)
    pairs_of_methods = np.triu_indices(options.methods, 1)
    covered: dict[str, list] = {name: [] for name in INTERVALS}
    widths: dict[str, list] = {name: [] for name in INTERVALS}
    for study in range(options.studies):
        answers = np.clip(rng.lognormal(np.log(25), 0.6, raters).astype(int), 5, 60)
        pairs = simulate(rng, np.zeros(options.methods), NU, answers, faces, face_sd, rater_sd)
        fitted = bradley_terry.fit(*(table[0] for table in pairs.tables(np.ones((1, len(pairs.outcome)))))).strength
        differences = (fitted[:, None] - fitted)[pairs_of_methods]
        spreads = (
            strength_spread(pairs, False, options.resamples, study),
            pigeonhole_spread(pairs, options.resamples, study),
            strength_spread(pairs, True, options.resamples, study),
        )
        for name, spread in zip(INTERVALS, spreads, strict=True):
            margin = spread.t_quantile() * spread.difference_standard_errors()[pairs_of_methods]
            covered[name].append(np.mean(np.abs(differences) <= margin))
            widths[name].append(np.mean(2 * margin))
    return {
        "raters": raters, "faces": faces, "face_sd": face_sd, "rater_sd": rater_sd, "studies": options.studies,
        "coverage": {name: float(np.mean(values)) for name, values in covered.items()},
        "width": {name: float(np.mean(values)) for name, values in widths.items()},
    }  # fmt: skip


def seconds_of_a_study() -> float:
    """Time of all intervals of one large study: 10 methods, 12 faces, 50 raters with 40 answers, 1,000 replicates."""
    pairs = simulate(np.random.default_rng(0), np.linspace(-1, 1, 10), NU, np.full(50, 40), 12, 0.5, 0.3)
    start = time.perf_counter()
    strength_spread(pairs, True)
    return time.perf_counter() - start


def table(rows: list[dict]) -> str:
    """Format the results as a Markdown table."""
    heads = ["raters", "faces", "SD of faces", "SD of raters", *(f"{name}: coverage / width" for name in INTERVALS)]
    lines = [f"| {' | '.join(heads)} |", "| ---: " * len(heads) + "|"]
    for row in rows:
        cells = [row["raters"], row["faces"], row["face_sd"], row["rater_sd"]]
        cells += [f"{row['coverage'][name]:.1%} / {row['width'][name]:.2f}" for name in INTERVALS]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def run(options: Options) -> int:
    """Simulate all designs, print the table and write it."""
    designs = [(30, 12, sd, 0.3) for sd in (0.0, 0.5, 1.0)] + [(30, 50, sd, 0.3) for sd in (0.0, 0.5, 1.0)]
    designs += [(10, 12, 0.5, 0.3), (30, 6, 0.5, 0.3)]
    rows = [coverage(*design, options) for design in designs[: options.designs]]
    print(table(rows))
    print(f"Intervals of 10 methods, 12 faces and 50 raters: {seconds_of_a_study():.2f} s")
    write_results(options.out / "intervals.json", rows)
    return 0


def main(argv: list[str] | None = None) -> int:
    return exit_status(lambda: run(parse(Options, argv, "python -m bench.intervals", description=__doc__.splitlines()[0])))


if __name__ == "__main__":
    sys.exit(main())
