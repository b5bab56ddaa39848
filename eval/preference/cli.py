"""Commands of the preference study: python -m eval study build | export | import | score | sample."""

import json
import sys
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import tyro

from eval.options import Names, option
from eval.preference.analysis.quality import ExclusionRules
from eval.preference.build import StudySettings, build, from_folders, from_run
from eval.preference.golds import describe_golds
from eval.preference.study import Study
from gpen.errors import GPENError
from gpen.images import write_atomically

if TYPE_CHECKING:
    from eval.preference.storage.votes import Vote

INTERVALS = ("faces", "images")
NO_VOTES = 1  # exit status of a command that found no votes


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
        print(describe_link(study))
        if not study.shows_input:
            print("Raters do not see the inputs: an input is identical with a result, which it would reveal.")


def describe_link(study: Study) -> str:
    """The link that the owner sends to raters, in one sentence."""
    return f"Link for raters: ADDRESS{study.link} with the address of the page (GPEN_STUDY={study.folder} python app.py)."


FORMAT_HELP = option("jsonl|csv|choix|arena", "by the suffix of the file, else jsonl")
WHERE = option("WHERE", "$DATABASE_URL, else $GPEN_VOTES, else runs/votes.sqlite")


def _read(where: str | None, name: str | None, study: Study | None) -> "list[Vote]":
    """Read the votes of the study `name`, and print how many there are and where.

    where: a file of votes, or a store; default: see storage/location.py. Without a name, all votes of a file, or the votes of
    `study` in a store, are read. Never creates a store. Without votes, the list is empty and the message is a warning.
    """
    from eval.preference import exports  # imported here because SQLAlchemy and scipy take time to import
    from eval.preference.storage.location import is_vote_file, locate
    from eval.preference.storage.refusals import NoStoreError
    from eval.preference.storage.store import VoteStore

    others: dict[str, int] = {}
    if where and is_vote_file(where):
        place = where
        votes = [vote for vote in exports.read_file(where) if name in (None, vote.study)]
    else:
        location = locate(where)
        place, name = str(location), name or (study.name if study else None)
        try:
            with closing(VoteStore.open(location, create=False)) as store:
                others = store.studies()
                votes = [vote for study in others if name in (None, study) for vote in store.votes(study)]
        except NoStoreError as error:
            print(f"warning: 0 votes: {error}", file=sys.stderr)
            return []
    of_study = f" of the study {name}" if name else ""
    if votes:
        print(f"{len(votes)} votes{of_study} in {place}.", file=sys.stderr)
    else:
        found = ", ".join(f"{study} ({count})" for study, count in others.items())
        more = f"; it has votes of {found}" if found else "; name the votes of the page with --votes, or set GPEN_VOTES"
        print(f"warning: 0 votes{of_study} in {place}{more}.", file=sys.stderr)
    return votes


@dataclass(frozen=True)
class Export:
    """Export the votes of a study, or of the live arena with --study-name arena."""

    study: Annotated[str | None, option("STUDY", "none; give --study-name")] = None
    """folder of the study"""
    study_name: Annotated[str | None, option("NAME", "that of --study")] = None
    """name of the study in the store"""
    out: Annotated[str | None, option("FILE", "standard output")] = None
    """file to write"""
    format: Annotated[str | None, FORMAT_HELP] = None
    """format of the votes"""
    votes: Annotated[str | None, WHERE] = None
    """where the votes are: an SQLite file, a database URL, or a file of votes"""

    def __call__(self) -> int:
        from eval.preference import exports

        if not (self.study or self.study_name):
            raise GPENError("The votes of one study are exported; name it with --study or --study-name.")
        study = Study.open(self.study) if self.study else None
        votes = _read(self.votes, self.study_name or (study.name if study else None), study)
        if not votes:
            return NO_VOTES
        form = self.format or exports.format_of(self.out)
        pieces = exports.write(votes, form, study.degradations if study else None)
        if self.out:
            write_atomically(self.out, "".join(pieces).encode())
        else:
            sys.stdout.writelines(pieces)
        return 0


@dataclass(frozen=True)
class Import:
    """Import votes into a store; votes that it contains, and those of raters who deleted them, are ignored."""

    file: tyro.conf.Positional[Annotated[str, option("FILE")]]
    """file of votes"""
    study: Annotated[str, option("STUDY")]
    """folder of the study"""
    format: Annotated[str | None, FORMAT_HELP] = None
    """format of the file"""
    votes: Annotated[str | None, WHERE] = None
    """where to store the votes: an SQLite file or a database URL"""

    def __call__(self) -> int:
        from eval.preference import exports
        from eval.preference.storage.location import locate
        from eval.preference.storage.store import VoteStore
        from eval.preference.survey import Survey

        location, study, votes = locate(self.votes), Study.open(self.study), exports.read_file(self.file, self.format)
        if not votes:
            print(f"warning: 0 votes in {self.file}; nothing is imported.", file=sys.stderr)
            return NO_VOTES
        with closing(Survey(study, VoteStore.open(location))) as survey:
            new = survey.import_votes(votes)
        print(f"{len(votes)} votes in {self.file}; {new} of them are new in {location}.")
        return 0


@dataclass(frozen=True)
class Score:
    """Compute strengths, intervals and agreement from a file of votes."""

    votes: Annotated[str | None, WHERE] = None
    """where the votes are: a file of votes, an SQLite file or a database URL"""
    out: Annotated[str | None, option("FILE", "standard output")] = None
    """scores.json to write, or a table of strengths where the suffix is .csv"""
    study: Annotated[str | None, option("STUDY", "none")] = None
    """folder of the study, for the levels of degradation and the planned number of answers, before which no test is made"""
    study_name: Annotated[str | None, option("NAME", "all votes of a file, that of --study in a store")] = None
    """name of the study to score, if there are several"""
    run: Annotated[str | None, option("RUN", "none")] = None
    """folder of python -m eval run, for the agreement of its metrics with raters"""
    intervals: Annotated[str, option("|".join(INTERVALS))] = INTERVALS[0]
    """population of the intervals: faces like these, or these images only"""
    rules: Annotated[ExclusionRules, tyro.conf.arg(name="")] = field(default_factory=ExclusionRules)

    def __call__(self) -> int:
        from eval.metrics.registry import METRICS  # imported here because scipy takes time to import
        from eval.preference import exports
        from eval.preference.analysis.agreement import read_rows
        from eval.preference.analysis.scoring import score
        from eval.preference.plan import plan_of

        if self.intervals not in INTERVALS:
            raise GPENError(f"Unknown --intervals {self.intervals!r}; choose from {', '.join(INTERVALS)}.")
        study = Study.open(self.study) if self.study else None
        votes = _read(self.votes, self.study_name, study)
        if not votes:
            return NO_VOTES
        rows = read_rows(self.run) if self.run else None
        lower_better = {name: metric.lower_better for name, metric in METRICS.items()} if rows else None
        levels, plan, known = (study.levels, plan_of(study, votes), study.degradations) if study else (None, None, None)
        over_faces = self.intervals == INTERVALS[0]
        scores = score(votes, self.rules, levels, rows, lower_better, plan, over_faces, known)
        if exports.format_of(self.out) == "csv":
            text = exports.write_scores(scores)
        else:
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
        return 0


@dataclass(frozen=True)
class Sample:
    """Build the sample study of this project."""

    out: Annotated[str, option("STUDY")]
    """folder to create"""

    def __call__(self) -> None:
        from eval.preference.sample import build_sample_study  # imported here because it imports the methods and metrics

        study = build_sample_study(self.out)
        print(f"{study.folder}: {len(study.items)} items, {', '.join(study.methods)}")
        print(describe_link(study))


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
