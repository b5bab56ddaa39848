"""Benchmark the time by image size, batch size and number of faces in a photo.

    python -m bench.scale           about three minutes on two cores

Writes bench/results/scale.json and scale.png. Networks of other sizes have the width of the default model and random weights.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import gpen
from bench.speed import RESULTS, Clock, machine
from eval.benchmark.profiling import peak_memory
from gpen.cli.parsing import Flag, parse
from gpen.engines.registry import load_engine
from gpen.faces.alignment import Face
from gpen.images import astronaut_face, resize_to

IMAGE_SIZES, BATCHES, FACES = (128, 256, 512, 1024, 2048), (1, 2, 4, 8, 16, 32), (1, 10, 50, 100, 200)
FACE_SPACING = 120  # px, distance between neighbouring faces of the photo
POINTS = np.array(
    [(39, 48), (81, 48), (60, 63), (44, 83), (76, 83)], np.float32
)  # landmarks (eyes, nose, mouth) of a face of FACE_SPACING px
REPEATS = 3


def fastest_call(run: Callable[[], object], clock: Clock) -> float:
    """Return the seconds of the fastest of REPEATS calls, after one warm-up call."""
    run()
    times = []
    for _ in range(REPEATS):
        begin = clock()
        run()
        times.append(clock() - begin)
    return min(times)


def by_side(clock: Clock) -> list[dict]:
    rows = []
    for side in IMAGE_SIZES:
        net = gpen.GPEN(dataclasses.replace(gpen.load().config, size=side, in_size=side)).requires_grad_(False).eval()
        run, x = load_engine(net), torch.rand(1, 3, side, side) * 2 - 1
        rows.append({"side": side, "seconds": fastest_call(lambda run=run, x=x: run(x), clock)})
    return rows


def by_batch(clock: Clock) -> list[dict]:
    net = gpen.load()
    run, rows = load_engine(net), []
    for n in BATCHES:
        x = torch.rand(n, 3, net.in_size, net.in_size) * 2 - 1
        rows.append({"batch": n, "seconds": fastest_call(lambda x=x: run(x), clock)})
    return rows


def by_faces(clock: Clock) -> list[dict]:
    """Restore 1 to 200 known faces of one photo, so that only restoration and pasting are timed."""
    face = resize_to(astronaut_face(), FACE_SPACING)
    photo = np.tile(face, (10, 20, 1))  # 200 faces
    corners = [(x, y) for y in range(0, photo.shape[0], FACE_SPACING) for x in range(0, photo.shape[1], FACE_SPACING)]
    faces = [Face((x, y, x + FACE_SPACING, y + FACE_SPACING), POINTS + np.float32((x, y)), 1.0) for x, y in corners]
    restorer, rows = gpen.Restorer(gpen.load()), []
    restorer.photo(photo, faces=faces[:8])
    for n in FACES:
        begin = clock()
        restorer.photo(photo, faces=faces[:n])
        seconds = clock() - begin
        rows.append({"faces": n, "seconds": seconds, "megabytes": peak_memory()})
    return rows


def plot(results: dict[str, list[dict]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    labels = {"side": "image size, px", "batch": "batch size", "faces": "faces per photo"}
    for axis, (name, label) in zip(axes, labels.items(), strict=True):
        x, seconds = [row[name] for row in results[name]], [row["seconds"] for row in results[name]]
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.plot(x, seconds, "o-")
        start = seconds[-1] * (np.array(x) / x[-1]) ** (2 if name == "side" else 1)
        axis.plot(x, start, ":", color="0.5", label="pixels" if name == "side" else "proportional")
        axis.set_xticks(x, x)
        axis.set_xlabel(label)
        axis.set_ylabel("seconds")
        axis.legend(frameon=False)
    figure.savefig(RESULTS / "scale.png", dpi=120)


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    cpu_time: Flag = False  # use one thread and measure its CPU time, for machines with other load


def main(argv: list[str] | None = None) -> int:
    arguments = parse(Options, argv, "python -m bench.scale", description=__doc__.splitlines()[0])
    if arguments.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    results = {
        "faces": by_faces(clock),
        "side": by_side(clock),
        "batch": by_batch(clock),
    }  # first the case that measures peak memory, which never decreases
    RESULTS.mkdir(exist_ok=True)
    where = machine() | {"clock": "cpu" if arguments.cpu_time else "wall"}
    (RESULTS / "scale.json").write_text(json.dumps({"machine": where, **results}, indent=1) + "\n")
    plot(results)
    for name, rows in results.items():
        print(f"| {name} | " + " | ".join(str(row[name]) for row in rows) + " |\n| --- |" + " ---: |" * len(rows))
        print("| seconds | " + " | ".join(f"{row['seconds']:.2f}" for row in rows) + " |")
        if name == "faces":
            print("| peak MB | " + " | ".join(f"{row['megabytes']:.0f}" for row in rows) + " |")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
