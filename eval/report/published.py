"""Published results with their source and protocol: eval/report/published.json.

Each table has its own protocol: the PSNR of one method ranges from 18 to 27 dB between protocols. Reports print a table only if
asked (--published), and below a run only if the run has the same protocol pack.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path

from eval.report.document import Block, Heading, Paragraph, Table
from eval.report.tables import arrow

SETS = {"lfw": "LFW-Test", "webphoto": "WebPhoto-Test", "wider": "WIDER-Test"}
TITLES = {"psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS", "dists": "DISTS", "fid": "FID", "niqe": "NIQE", "musiq": "MUSIQ",
          "lmd": "LMD", "identity_angle": "Identity (angle)", "ids": "IDS", "ida": "IDA"}  # fmt: skip
TITLES |= {f"{metric}_{key}": f"{TITLES[metric]}, {name}" for metric in ("fid", "musiq") for key, name in SETS.items()}


@dataclass(frozen=True)
class PublishedTable:
    """One published table."""

    name: str
    source: str
    protocol: str
    pack: str  # name of the protocol pack with the same images and degradations; "": none
    lower_better: dict[str, bool]  # by metric, in the order of the columns
    figures: dict[str, dict[str, Decimal | None]]  # method -> metric -> value with the published digits; None is infinity


def published_tables() -> list[PublishedTable]:
    """All tables."""
    text = Path(__file__).with_name("published.json").read_text()
    return [PublishedTable(**table) for table in json.loads(text, parse_float=Decimal, parse_int=Decimal)]


def published_blocks(packs: Iterable[str] | None = None) -> list[Block]:
    """The tables of these protocol packs; None: all tables."""
    chosen = None if packs is None else set(packs) - {""}
    tables = [table for table in published_tables() if chosen is None or table.pack in chosen]
    blocks: list[Block] = [Heading(1, "Published results")]
    if not tables:
        text = "No published table has the protocol of these runs. python -m eval report --published prints all tables."
        return [*blocks, Paragraph(text)]
    blocks.append(
        Paragraph(
            "Not measured by this project. Each table has its own data, degradations and settings: compare only within one table."
        )
    )
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
