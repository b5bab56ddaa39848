"""Published results with their source and protocol: eval/published.json.

They are in separate tables, because the PSNR of one method ranges from 18 to 27 dB between protocols.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

from eval.report.document import Block, Heading, Paragraph, Table
from eval.report.tables import arrow

TITLES = {"psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS", "fid": "FID", "identity_angle": "Identity (angle)"}


@dataclass(frozen=True)
class PublishedTable:
    """One published table."""

    name: str
    source: str
    protocol: str
    tasks: tuple[str, ...]  # families of tasks with a related protocol
    lower_better: dict[str, bool]  # by metric, in the order of the columns
    figures: dict[str, dict[str, Decimal | None]]  # method -> metric -> value with the published digits; None is infinity


def published_tables() -> list[PublishedTable]:
    """All tables, in order of publication."""
    text = Path(__file__).with_name("published.json").read_text()
    tables = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    return [PublishedTable(**table | {"tasks": tuple(table["tasks"])}) for table in tables]


def published_blocks(tasks: Iterable[str]) -> list[Block]:
    """The tables for the families of these tasks."""
    families = {task.partition("-")[0] for task in tasks}
    tables = [table for table in published_tables() if families & set(table.tasks)]
    if not tables:
        return []
    blocks: list[Block] = [
        Heading(1, "Published results"),
        Paragraph(
            "Not measured by this project. Each table has its own data, degradations and settings: compare only within one table."
        ),
    ]
    for table in tables:
        head = ["published", *(f"{TITLES[metric]} {arrow(lower)}" for metric, lower in table.lower_better.items())]
        rows = [[method, *(_text(values[metric]) for metric in table.lower_better)] for method, values in table.figures.items()]
        blocks += [Heading(2, table.name), Table(head, rows), Paragraph(f"Source: {table.source}. Protocol: {table.protocol}.")]
    return blocks


def published_json() -> list[dict]:
    """The tables as JSON values; null is infinity."""
    text = json.dumps([asdict(table) for table in published_tables()], default=float)
    return json.loads(text)


def _text(value: Decimal | None) -> str:
    return "∞" if value is None else str(value)
