"""python -m gpen curves: plot the loss curves of one training run, or of several as consecutive phases."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from gpen.cli.parsing import File, OptionalFile, parse
from gpen.errors import GPENError
from gpen.images import write_atomically
from gpen.training.monitoring.curves import draw, joined, read_log


@dataclass(frozen=True)
class Curves:
    """Plot the losses of one training run, or of several as consecutive phases.

    There is one panel per loss, against the number of images seen.
    """

    # one or more folders of runs, or their log.jsonl files, in order
    runs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN...", help_behavior_hint="(required)")]
    out: File  # the plot, .png
    log: OptionalFile = None  # JSON-lines file for the joined log; None: not written

    def run(self) -> None:
        """Draw the plot."""
        if not self.runs:
            raise GPENError("There is nothing to draw: name the folders of training runs.")
        records = joined([read_log(run / "log.jsonl" if run.is_dir() else run) for run in self.runs])
        if not records:
            raise GPENError("The logs are empty: there is nothing to draw yet.")
        if self.log:
            write_atomically(self.log, "".join(json.dumps(record) + "\n" for record in records).encode())
        draw(records, self.out)


def main(args: list[str]) -> None:
    """Run `gpen curves` with these arguments."""
    parse(Curves, args, "gpen curves").run()
