"""What a restoration costs as it grows: with the side of the network, the batch, and the number of faces of a photo.

    python -m bench.scale           about three minutes on two cores

Written: bench/results/scale.json and scale.png. Networks of other sides are of the default model's widths, with random weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

import gpen
from bench.speed import RESULTS, Clock, machine, megabytes
from gpen.engines import load_engine
from gpen.faces import Face
from gpen.images import astronaut_face, resize_to

SIDES, BATCHES, FACES = (128, 256, 512, 1024, 2048), (1, 2, 4, 8, 16, 32), (1, 10, 50, 100, 200)
EVERY = 120  # px from one face of the photo to the next
POINTS = np.array([(39, 48), (81, 48), (60, 63), (44, 83), (76, 83)], np.float32)  # eyes, nose, mouth of a face of EVERY px
REPEATS = 3


def quickest(run: Callable[[], object], clock: Clock) -> float:
    """Seconds of the quickest of a few calls, after one that does not count."""
    run()
    times = []
    for _ in range(REPEATS):
        begin = clock()
        run()
        times.append(clock() - begin)
    return min(times)


def by_side(clock: Clock) -> list[dict]:
    rows = []
    for side in SIDES:
        net = gpen.GPEN(dataclasses.replace(gpen.load().config, size=side, in_size=side)).requires_grad_(False).eval()
        run, x = load_engine(net), torch.rand(1, 3, side, side) * 2 - 1
        rows.append({"side": side, "seconds": quickest(lambda run=run, x=x: run(x), clock)})
    return rows


def by_batch(clock: Clock) -> list[dict]:
    net = gpen.load()
    run, rows = load_engine(net), []
    for n in BATCHES:
        x = torch.rand(n, 3, net.in_size, net.in_size) * 2 - 1
        rows.append({"batch": n, "seconds": quickest(lambda x=x: run(x), clock)})
    return rows


def by_faces(clock: Clock) -> list[dict]:
    """The same photo each time, its faces known, so that what is measured is restoring and putting back."""
    face = resize_to(astronaut_face(), EVERY)
    photo = np.tile(face, (10, 20, 1))  # 200 faces
    corners = [(x, y) for y in range(0, photo.shape[0], EVERY) for x in range(0, photo.shape[1], EVERY)]
    faces = [Face((x, y, x + EVERY, y + EVERY), POINTS + np.float32((x, y)), 1.0) for x, y in corners]
    restorer, rows = gpen.Restorer(gpen.load()), []
    restorer.photo(photo, faces=faces[:8])
    for n in FACES:
        begin = clock()
        restorer.photo(photo, faces=faces[:n])
        seconds = clock() - begin
        rows.append({"faces": n, "seconds": seconds, "megabytes": megabytes()})
    return rows


def plot(results: dict[str, list[dict]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    labels = {"side": "side, px", "batch": "batch", "faces": "faces of a photo"}
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


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.scale", description=__doc__.splitlines()[0])
    parser.add_argument("--cpu-time", action="store_true", help="one thread, and the time that it had a processor")
    arguments = parser.parse_args(argv)
    if arguments.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    results = {"faces": by_faces(clock), "side": by_side(clock), "batch": by_batch(clock)}  # memory first: its peak only grows
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
