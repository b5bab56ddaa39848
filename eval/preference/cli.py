"""Command line of the preference study.

python -m eval study build RUN --out STUDY            from a run that kept its images
python -m eval study build --results A=DIR B=DIR [--inputs DIR] [--truth DIR] --out STUDY
python -m eval study export|import --study STUDY ...  votes from and to the store (DATABASE_URL)
python -m eval study score --votes votes.jsonl --out scores.json
python -m eval study sample --out STUDY               the sample study in assets/study
"""

import argparse
import json
import os
import sys
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpen.errors import GPENError

if TYPE_CHECKING:
    from eval.preference.survey import Survey


def add_commands(subparsers: Any) -> None:
    """Add the command `study` to the parser of python -m eval."""
    study = subparsers.add_parser("study", help="preference study: build it, export, import and score votes")
    commands = study.add_subparsers(required=True)
    _add_build(commands.add_parser("build", help="build the folder of a study"))
    _add_transfer(commands)
    _add_score(commands.add_parser("score", help="compute strengths, intervals and agreement from a file of votes"))
    sample = commands.add_parser("sample", help="build the sample study of this project")
    sample.set_defaults(command=_sample)
    sample.add_argument("--out", required=True, metavar="STUDY", help="folder to create")


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_build)
    parser.add_argument("run", nargs="?", metavar="RUN", help="folder of python -m eval run ... --keep")
    parser.add_argument("--results", nargs="+", metavar="NAME=DIR", help="instead of RUN: the folder of images of each method")
    parser.add_argument("--inputs", metavar="DIR", help="folder of low-quality images, with --results")
    parser.add_argument("--truth", metavar="DIR", help="folder of the ground truth, with --results")
    parser.add_argument("--out", required=True, metavar="STUDY", help="folder to create")
    parser.add_argument("--tasks", type=_names, default=(), metavar="A,B", help="tasks of RUN (default: all)")
    parser.add_argument(
        "--methods", type=_names, default=(), metavar="A,B", help="methods of RUN (default: all except the ground truth)"
    )
    parser.add_argument("--limit", type=int, help="maximum number of images, by name")
    parser.add_argument("--title", help="title of the page")
    parser.add_argument("--protocol", help="pairwise, rating or ranking (default: pairwise)")
    parser.add_argument("--instructions", type=_text, metavar="FILE", help="text file with the instructions")
    parser.add_argument("--consent", type=_text, metavar="FILE", help="text file with the consent text")
    parser.add_argument("--answers", type=int, help="answers per item (default: 3 for each of its trials)")
    parser.add_argument("--repeats", type=float, help="fraction of repeated trials, 0 to 0.5 (default: 0.1)")
    parser.add_argument("--gold-every", type=int, help="one gold trial per this many trials; 0: none (default: 10)")
    parser.add_argument("--session", type=int, help="trials per rater (default: 40)")
    parser.add_argument("--pause", type=int, help="trials between two suggested pauses (default: 20)")
    parser.add_argument("--training", type=int, help="training trials (default: 2)")
    parser.add_argument("--seed", type=int, help="seed of the order of images and trials (default: 0)")


def _add_transfer(commands: Any) -> None:
    export = commands.add_parser("export", help="export the votes of the store")
    export.set_defaults(command=_export)
    export.add_argument("--out", metavar="FILE", help="output file (default: standard output)")
    import_ = commands.add_parser("import", help="import votes into the store")
    import_.set_defaults(command=_import)
    import_.add_argument("votes", metavar="FILE", help="votes in one of the formats")
    for parser in (export, import_):
        parser.add_argument("--study", required=True, metavar="STUDY", help="folder of the study")
        parser.add_argument("--format", help="jsonl, csv or choix (default: by the suffix of the file, else jsonl)")
        parser.add_argument("--database", metavar="URL", help="database URL (default: DATABASE_URL)")


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_score)
    parser.add_argument("--votes", required=True, metavar="FILE", help="votes.jsonl")
    parser.add_argument("--out", metavar="FILE", help="scores.json (default: standard output)")
    parser.add_argument("--study", metavar="STUDY", help="folder of the study, for the levels of degradation")
    parser.add_argument("--study-name", metavar="NAME", help="study to score, if the file contains several")
    parser.add_argument("--run", metavar="RUN", help="folder of python -m eval run, for the agreement of its metrics with raters")
    parser.add_argument("--max-gold-errors", type=float, help="allowed fraction of wrong gold trials (default: 0.33)")
    parser.add_argument("--min-ms", type=float, help="minimum response time, ms (default: 300)")
    parser.add_argument("--max-fast", type=float, help="allowed fraction of faster answers (default: 0.25)")


def _build(options: argparse.Namespace) -> int:
    from eval.preference.build import StudySettings, build, from_folders, from_run

    if bool(options.run) == bool(options.results):
        raise GPENError("A study is built from a RUN or from --results; give one of them.")
    if options.limit is not None and options.limit < 1:
        raise GPENError(f"--limit {options.limit} selects no image; choose 1 or more.")
    if options.run:
        sources = from_run(options.run, options.tasks, options.methods, options.limit)
    else:
        sources = from_folders(_folders(options.results), options.inputs, options.truth, options.limit)
    study = build(sources, options.out, StudySettings(**_given(options, StudySettings)))
    print(
        f"{study.folder}: {len(study.items)} items, {', '.join(study.methods)}; {study.answers} answers per item; "
        f"{len(study.golds)} gold trials"
    )
    return 0


def _export(options: argparse.Namespace) -> int:
    with closing(_survey(options)) as survey:
        pieces = survey.export(_format(options.format, options.out))
        if options.out:
            with open(options.out, "w") as file:
                file.writelines(pieces)
        else:
            sys.stdout.writelines(pieces)
    return 0


def _import(options: argparse.Namespace) -> int:
    try:
        text = Path(options.votes).read_text()
    except UnicodeDecodeError as error:
        raise GPENError(f"{options.votes} is not a text file; give votes in jsonl, csv or choix format.") from error
    with closing(_survey(options)) as survey:
        print(f"{survey.import_votes(text, _format(options.format, options.votes))} new votes")
    return 0


def _score(options: argparse.Namespace) -> int:
    from eval.data.files import write_atomically
    from eval.preference.analysis.agreement import read_rows
    from eval.preference.analysis.quality import ExclusionRules
    from eval.preference.analysis.scoring import score
    from eval.preference.storage.votes import read_votes
    from eval.preference.study import Study

    votes = read_votes(options.votes)
    if options.study_name is not None:
        votes = [vote for vote in votes if vote.study == options.study_name]
    rows = read_rows(options.run) if options.run else None
    levels = Study.open(options.study).levels if options.study else None
    scores = score(votes, ExclusionRules(**_given(options, ExclusionRules)), levels, rows, _directions() if rows else None)
    text = json.dumps(scores, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if options.out:
        write_atomically(Path(options.out), text.encode())
    else:
        print(text, end="")
    for warning in scores["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def _sample(options: argparse.Namespace) -> int:
    from eval.preference.sample import build_sample_study

    study = build_sample_study(options.out)
    print(f"{study.folder}: {len(study.items)} items, {', '.join(study.methods)}")
    return 0


def _survey(options: argparse.Namespace) -> "Survey":
    from eval.preference.storage.store import VoteStore
    from eval.preference.study import Study
    from eval.preference.survey import Survey

    return Survey(Study.open(options.study), VoteStore.open(options.database))


def _directions() -> dict[str, bool]:
    """Direction of each metric of image pairs."""
    from eval.metrics.registry import METRICS

    return {name: metric.lower_better for name, metric in METRICS.items()}


def _given(options: argparse.Namespace, settings: type) -> dict:
    """The options on the command line that belong to a dataclass of settings."""
    return {field.name: value for field in fields(settings) if (value := getattr(options, field.name, None)) is not None}


def _format(form: str | None, file: str | None) -> str:
    by_suffix = {".csv": "csv", ".json": "choix"}
    return form or by_suffix.get(os.path.splitext(file or "")[1], "jsonl")


def _folders(pairs: list[str]) -> dict[str, str]:
    if wrong := [pair for pair in pairs if "=" not in pair.strip("=")]:
        raise GPENError(f"--results needs NAME=DIR, not {wrong[0]!r}; write for example bilinear=results/bilinear.")
    return dict(pair.split("=", 1) for pair in pairs)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be read as text") from error
