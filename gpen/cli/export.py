"""python -m gpen export: export a model to ONNX or OpenVINO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from gpen.cli.parsing import File, Model, TaskName, parse
from gpen.engines.registry import EXPORTS, export
from gpen.models import checkpoints
from gpen.models.network import UnitRange
from gpen.restoration import tasks

if TYPE_CHECKING:
    ExportName = str
else:
    ExportName = Literal[tuple(EXPORTS)]


@dataclass(frozen=True)
class Export:
    """Export a model to a file for another inference engine."""

    engine: ExportName  # engine that will run the file
    out: File  # output file: .onnx for onnx; .xml for openvino, with a .bin beside it
    model: Model = None  # name or file of a model; None: the default model of the task
    task: TaskName = "restore"  # task of the model
    opset: Annotated[int | None, arg(metavar="N")] = None  # ONNX opset, 15 to 21; None: 17
    seed: int = 0  # seed of the noise of a super-resolution model

    def run(self) -> None:
        """Write the file and print its path."""
        loaded = checkpoints.load(tasks.find_model(self.task, self.model))
        net = UnitRange(loaded) if self.task == "seg2face" else loaded  # images of exported networks are in [-1, 1]
        print(export(net, self.out, self.engine, self.opset, self.seed))


def main(args: list[str]) -> None:
    """Run `gpen export` with these arguments."""
    parse(Export, args, "gpen export").run()
