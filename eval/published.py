"""Figures that papers have published, each with its source and its protocol: eval/published.json.

They stand in tables of their own, never in a column of measured ones: PSNR of one method runs from 18 to 27 dB over protocols.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

from eval.cells import ARROWS
from eval.document import Block, Heading, Paragraph, Table

TITLES = {"psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS", "fid": "FID", "identity_angle": "Identity (angle)"}


@dataclass(frozen=True)
class Published:
    """One published table."""

    name: str
    source: str
    protocol: str
    tasks: tuple[str, ...]  # families of tasks that it may be read beside
    columns: dict[str, str]  # metric -> "higher" | "lower", whichever is better
    figures: dict[str, dict[str, Decimal | None]]  # method -> metric -> value with the digits that were printed; None is infinity


def published() -> list[Published]:
    """Every table, in the order of publication."""
    text = Path(__file__).with_name("published.json").read_text()
    tables = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return [Published(**table | {"tasks": tuple(table["tasks"])}) for table in tables]


def published_blocks(tasks: Iterable[str]) -> list[Block]:
    """The tables that may be read beside these tasks."""
    families = {task.partition("-")[0] for task in tasks}
    tables = [table for table in published() if families & set(table.tasks)]
    if not tables:
        return []
    blocks: list[Block] = [
        Heading(1, "Published figures"),
        Paragraph(
            "Not measured here. Each table has its own data, degradations and settings: compare within one table, never across."
        ),
    ]
    for table in tables:
        head = ["published", *(f"{TITLES[metric]} {ARROWS[better]}" for metric, better in table.columns.items())]
        rows = [[method, *(_text(values[metric]) for metric in table.columns)] for method, values in table.figures.items()]
        blocks += [Heading(2, table.name), Table(head, rows), Paragraph(f"Source: {table.source}. Protocol: {table.protocol}.")]
    return blocks


def published_json() -> list[dict]:
    """The tables as JSON takes them; null is infinity."""
    text = json.dumps([asdict(table) for table in published()], default=float)
    return json.loads(text)


def _text(value: Decimal | None) -> str:
    return "∞" if value is None else str(value)
