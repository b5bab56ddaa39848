"""python -m eval study build RUN --out STUDY            from a run that kept its images
python -m eval study build --results A=DIR B=DIR [--inputs DIR] [--truth DIR] --out STUDY
python -m eval study export|import --study STUDY ...     votes out of and into the store (DATABASE_URL)
python -m eval study score --votes votes.jsonl --out scores.json
python -m eval study sample --out STUDY                  the sample study of assets/study
"""

import argparse
import json
import os
import sys
from contextlib import closing
from dataclasses import fields
from pathlib import Path

from gpen.errors import GPENError


def add_commands(subparsers) -> None:
    """`study` with its commands, for the parser of python -m eval."""
    study = subparsers.add_parser("study", help="what people prefer: build a study, score its votes")
    commands = study.add_subparsers(required=True)
    _add_build(commands.add_parser("build", help="make the folder of a study"))
    _add_transfer(commands)
    _add_score(commands.add_parser("score", help="strengths, intervals and agreement of a file of votes"))
    sample = commands.add_parser("sample", help="make the sample study of the project's own faces and methods")
    sample.set_defaults(command=_sample)
    sample.add_argument("--out", required=True, metavar="STUDY", help="folder to make")


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_build)
    parser.add_argument("run", nargs="?", metavar="RUN", help="of python -m eval run ... --keep")
    parser.add_argument("--results", nargs="+", metavar="NAME=DIR", help="in place of RUN: each method's folder of images")
    parser.add_argument("--inputs", metavar="DIR", help="the degraded images, with --results")
    parser.add_argument("--truth", metavar="DIR", help="the true images, with --results: for gold trials and references")
    parser.add_argument("--out", required=True, metavar="STUDY", help="folder to make")
    parser.add_argument("--tasks", type=_names, default=(), metavar="A,B", help="of RUN (all)")
    parser.add_argument("--methods", type=_names, default=(), metavar="A,B", help="of RUN (all but the ground truth)")
    parser.add_argument("--limit", type=int, help="only the first so many images by name")
    parser.add_argument("--title", help="of the page")
    parser.add_argument("--protocol", help="pairwise, rating or ranking (pairwise)")
    parser.add_argument("--instructions", type=_text, metavar="FILE", help="text for the rater")
    parser.add_argument("--consent", type=_text, metavar="FILE", help="text to agree to first")
    parser.add_argument("--answers", type=int, help="that each item needs over all its trials (3 for each trial)")
    parser.add_argument("--repeats", type=float, help="share of trials shown again with sides swapped (0.1)")
    parser.add_argument("--gold-every", type=int, help="one gold trial in so many; 0 for none (10)")
    parser.add_argument("--session", type=int, help="trials a rater is asked for (40)")
    parser.add_argument("--pause", type=int, help="a pause is offered after so many (20)")
    parser.add_argument("--training", type=int, help="trials before the first (2)")
    parser.add_argument("--seed", type=int, help="of sides and gold trials (0)")


def _add_transfer(commands) -> None:
    export = commands.add_parser("export", help="write the votes of the store")
    export.set_defaults(command=_export)
    export.add_argument("--out", metavar="FILE", help="(standard output)")
    import_ = commands.add_parser("import", help="read votes into the store")
    import_.set_defaults(command=_import)
    import_.add_argument("votes", metavar="FILE")
    for parser in (export, import_):
        parser.add_argument("--study", required=True, metavar="STUDY", help="folder of the study")
        parser.add_argument("--format", help="jsonl, csv, choix, sureal (by the file's name, else jsonl)")
        parser.add_argument("--database", metavar="URL", help="in place of DATABASE_URL")


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=_score)
    parser.add_argument("--votes", required=True, metavar="FILE", help="votes.jsonl")
    parser.add_argument("--out", metavar="FILE", help="scores.json (standard output)")
    parser.add_argument("--study", metavar="STUDY", help="folder of the study, for its levels of degradation")
    parser.add_argument("--study-name", metavar="NAME", help="the study to score, where the file holds several")
    parser.add_argument("--run", metavar="RUN", help="of python -m eval run: how its metrics agree with people")
    parser.add_argument("--max-gold-errors", type=float, help="share of gold trials that may be wrong (0.33)")
    parser.add_argument("--min-ms", type=float, help="a faster answer is no look at the pictures (300)")
    parser.add_argument("--max-fast", type=float, help="share of answers that may be faster (0.25)")


def _build(options: argparse.Namespace) -> int:
    from eval.preference.build import StudySettings, build, from_folders, from_run

    if bool(options.run) == bool(options.results):
        raise GPENError("a study is built from a RUN or from --results; give one of them")
    if options.limit is not None and options.limit < 1:
        raise GPENError(f"--limit {options.limit} leaves no image; choose 1 or more")
    if options.run:
        sources = from_run(options.run, options.tasks, options.methods, options.limit)
    else:
        sources = from_folders(_folders(options.results), options.inputs, options.truth, options.limit)
    study = build(sources, options.out, StudySettings(**_given(options, StudySettings)))
    print(
        f"{study.folder}: {len(study.items)} items, {', '.join(study.methods)}; {study.answers} answers an item; "
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
        raise GPENError(f"{options.votes} is no text; give votes in jsonl, csv, choix or sureal format") from error
    with closing(_survey(options)) as survey:
        print(f"{survey.import_votes(text, _format(options.format, options.votes))} new votes")
    return 0


def _score(options: argparse.Namespace) -> int:
    from eval.files import write_atomically
    from eval.preference.agreement import read_rows
    from eval.preference.quality import Rules
    from eval.preference.scoring import score
    from eval.preference.study import Study
    from eval.preference.votes import read_votes

    votes = read_votes(options.votes)
    if options.study_name is not None:
        votes = [vote for vote in votes if vote["study"] == options.study_name]
    rows = read_rows(options.run) if options.run else None
    levels = Study.open(options.study).levels if options.study else None
    scores = score(votes, Rules(**_given(options, Rules)), levels, rows, _directions() if rows else None)
    text = json.dumps(scores, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if options.out:
        write_atomically(Path(options.out), text.encode())
    else:
        print(text, end="")
    for warning in scores["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def _sample(options: argparse.Namespace) -> int:
    from eval.preference.sample import make_sample

    study = make_sample(options.out)
    print(f"{study.folder}: {len(study.items)} items, {', '.join(study.methods)}")
    return 0


def _survey(options: argparse.Namespace):
    from eval.preference.store import Store
    from eval.preference.study import Study
    from eval.preference.survey import Survey

    return Survey(Study.open(options.study), Store.open(options.database))


def _directions() -> dict[str, str]:
    """ "higher" or "lower" of each metric of pairs that eval knows."""
    from eval.metrics import METRICS

    return {name: metric.better for name, metric in METRICS.items()}


def _given(options: argparse.Namespace, settings: type) -> dict:
    """The options that were given, of a dataclass of settings."""
    return {field.name: value for field in fields(settings) if (value := getattr(options, field.name, None)) is not None}


def _format(asked: str | None, file: str | None) -> str:
    by_suffix = {".csv": "csv", ".py": "sureal", ".json": "choix"}
    return asked or by_suffix.get(os.path.splitext(file or "")[1], "jsonl")


def _folders(pairs: list[str]) -> dict[str, str]:
    if wrong := [pair for pair in pairs if "=" not in pair.strip("=")]:
        raise GPENError(f"--results takes NAME=DIR, not {wrong[0]!r}; write bilinear=results/bilinear")
    return dict(pair.split("=", 1) for pair in pairs)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{path} cannot be read") from error
