"""Commands of the preference study: python -m eval study build | export | import | score | sample."""

import json
import os
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from eval.options import Names, option
from eval.preference.analysis.quality import ExclusionRules
from eval.preference.build import StudySettings, build, from_folders, from_run
from eval.preference.golds import describe_golds
from eval.preference.study import Study
from gpen.errors import GPENError
from gpen.images import replace_atomically, write_atomically

if TYPE_CHECKING:
    from eval.preference.survey import Survey

INTERVALS = ("faces", "images")


@dataclass(frozen=True)
class Build:
    """Build the folder of a study from a run that kept its images, or from folders of images with equal names."""

    out: Annotated[str, option("STUDY")]
    """folder to create"""
    run: tyro.conf.Positional[Annotated[str | None, option("[RUN]", "none; give --results")]] = None
    """folder of python -m eval run ... --keep"""
    results: Annotated[tuple[str, ...], option("NAME=DIR [NAME=DIR ...]", "none; give RUN")] = ()
    """instead of RUN: the folder of images of each method, two or more"""
    inputs: Annotated[str | None, option("DIR", "none")] = None
    """folder of the low-quality images, with --results"""
    truth: Annotated[str | None, option("DIR", "none")] = None
    """folder of the ground truth, with --results"""
    tasks: Annotated[Names, option(default="all")] = ()
    """tasks of RUN"""
    methods: Annotated[Names, option(default="all except the ground truth")] = ()
    """methods of RUN"""
    limit: Annotated[int | None, option("N", "all")] = None
    """maximum number of images, by name, 1 or more"""
    settings: Annotated[StudySettings, tyro.conf.arg(name="")] = StudySettings()

    def __call__(self) -> None:
        if bool(self.run) == bool(self.results):
            raise GPENError("A study is built from a RUN or from --results; give one of them.")
        if self.limit is not None and self.limit < 1:
            raise GPENError(f"--limit {self.limit} selects no image; choose 1 or more.")
        if self.run:
            sources = from_run(self.run, self.tasks, self.methods, self.limit)
        else:
            sources = from_folders(_folders(self.results), self.inputs, self.truth, self.limit)
        study = build(sources, self.out, self.settings)
        print(f"{study.folder}: {len(study.items)} items, {', '.join(study.methods)}; {study.answers} answers per item")
        print(describe_golds(study))


@dataclass(frozen=True)
class Store:
    """A study with its vote store."""

    study: Annotated[str, option("STUDY")]
    """folder of the study"""
    format: Annotated[str | None, option("jsonl|csv|choix", "by the suffix of the file, else jsonl")] = None
    """format of the votes"""
    database: Annotated[str | None, option("URL", "$DATABASE_URL, else runs/votes.sqlite")] = None
    """database of the votes, SQLite or PostgreSQL"""

    def survey(self) -> "Survey":
        """Open the study with its store."""
        from eval.preference.storage.store import VoteStore  # imported here because SQLAlchemy and scipy take time to import
        from eval.preference.survey import Survey

        return Survey(Study.open(self.study), VoteStore.open(self.database))

    def format_of(self, file: str | None) -> str:
        """The format given, else that of the suffix of `file`."""
        by_suffix = {".csv": "csv", ".json": "choix"}
        return self.format or by_suffix.get(os.path.splitext(file or "")[1], "jsonl")


@dataclass(frozen=True)
class Export:
    """Export the votes of the store."""

    store: Annotated[Store, tyro.conf.arg(name="")]
    out: Annotated[str | None, option("FILE", "standard output")] = None
    """file to write"""

    def __call__(self) -> None:
        with closing(self.store.survey()) as survey:
            pieces = survey.export(self.store.format_of(self.out))
            if self.out:
                with replace_atomically(self.out) as partial, partial.open("w") as file:
                    file.writelines(pieces)
            else:
                sys.stdout.writelines(pieces)


@dataclass(frozen=True)
class Import:
    """Import votes into the store; votes that it contains are ignored."""

    votes: tyro.conf.Positional[Annotated[str, option("FILE")]]
    """file of votes"""
    store: Annotated[Store, tyro.conf.arg(name="")]

    def __call__(self) -> None:
        try:
            text = Path(self.votes).read_text()
        except UnicodeDecodeError as error:
            raise GPENError(f"{self.votes} is not a text file; give votes in jsonl, csv or choix format.") from error
        with closing(self.store.survey()) as survey:
            print(f"{survey.import_votes(text, self.store.format_of(self.votes))} new votes")


@dataclass(frozen=True)
class Score:
    """Compute strengths, intervals and agreement from a file of votes."""

    votes: Annotated[str, option("FILE")]
    """votes.jsonl, one vote per line"""
    out: Annotated[str | None, option("FILE", "standard output")] = None
    """scores.json to write"""
    study: Annotated[str | None, option("STUDY", "none")] = None
    """folder of the study, for the levels of degradation and the planned number of answers, before which no test is made"""
    study_name: Annotated[str | None, option("NAME", "the only study of the file")] = None
    """name of the study to score, if the file contains several"""
    run: Annotated[str | None, option("RUN", "none")] = None
    """folder of python -m eval run, for the agreement of its metrics with raters"""
    intervals: Annotated[str, option("|".join(INTERVALS))] = INTERVALS[0]
    """population of the intervals: faces like these, or these images only"""
    rules: Annotated[ExclusionRules, tyro.conf.arg(name="")] = field(default_factory=ExclusionRules)

    def __call__(self) -> None:
        from eval.metrics.registry import METRICS  # imported here because scipy takes time to import
        from eval.preference.analysis.agreement import read_rows
        from eval.preference.analysis.scoring import score
        from eval.preference.plan import plan_of
        from eval.preference.storage.votes import read_votes

        if self.intervals not in INTERVALS:
            raise GPENError(f"Unknown --intervals {self.intervals!r}; choose from {', '.join(INTERVALS)}.")
        votes = read_votes(self.votes)
        if self.study_name is not None:
            votes = [vote for vote in votes if vote.study == self.study_name]
        rows = read_rows(self.run) if self.run else None
        study = Study.open(self.study) if self.study else None
        lower_better = {name: metric.lower_better for name, metric in METRICS.items()} if rows else None
        levels, plan = (study.levels, plan_of(study, votes)) if study else (None, None)
        scores = score(votes, self.rules, levels, rows, lower_better, plan, over_faces=self.intervals == INTERVALS[0])
        text = json.dumps(scores, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        if self.out:
            write_atomically(self.out, text.encode())
        else:
            print(text, end="")
        if scores["missing"]:
            missing = f"{scores['missing']} of {scores['planned']} planned answers are missing"
            print(f"{missing}: p values are computed when the study is complete.", file=sys.stderr)
        for warning in scores["warnings"]:
            print(f"warning: {warning}", file=sys.stderr)


@dataclass(frozen=True)
class Sample:
    """Build the sample study of this project."""

    out: Annotated[str, option("STUDY")]
    """folder to create"""

    def __call__(self) -> None:
        from eval.preference.sample import build_sample_study  # imported here because it imports the methods and metrics

        study = build_sample_study(self.out)
        print(f"{study.folder}: {len(study.items)} items, {', '.join(study.methods)}")


StudyCommand = (
    Annotated[Build, tyro.conf.subcommand("build")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Import, tyro.conf.subcommand("import")]
    | Annotated[Score, tyro.conf.subcommand("score")]
    | Annotated[Sample, tyro.conf.subcommand("sample")]
)


def _folders(pairs: tuple[str, ...]) -> dict[str, str]:
    if wrong := [pair for pair in pairs if "=" not in pair.strip("=")]:
        raise GPENError(f"--results needs NAME=DIR, not {wrong[0]!r}; write for example bilinear=results/bilinear.")
    return dict(pair.split("=", 1) for pair in pairs)
