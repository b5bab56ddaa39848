"""The plan of a deployment: files, variables, secrets and storage of a Space, made without network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gpen
from demo.deploy.tree import ROOT, Commit, Files, last_commit, study_files, without_studies
from eval.preference.mirror.hub import PERIOD
from gpen.errors import GPENError
from gpen.images import write_atomically
from gpen.models import checkpoints, download

COPIED = ("GPEN_ENGINE", "GPEN_PUBLIC_LEADERBOARD", "GPEN_LOGIN", "GPEN_ARENA")  # variables that are copied from the environment
SECRETS = ("GPEN_OWNER_TOKEN", "DATABASE_URL")  # secrets that are copied from the environment
MANAGED = (*COPIED, "GPEN_STUDY", "GPEN_MODEL", "GPEN_MODELS", "GPEN_VOTES_REPO")  # removed from the Space if not set again
RATINGS_TOKEN = "GPEN_RATINGS_TOKEN"  # becomes the secret HF_TOKEN of the Space
OWN_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")  # variables with a token of the owner, which never leaves this machine
MOUNT = "/data"  # path of the bucket in the Space
STUDY, MODELS = "study", "models"  # folders of a named study and model in the Space
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Request:
    """What is deployed, as named on the command line."""

    space: str
    study: Path | None = None
    model: str | None = None
    ratings: str | None = None  # dataset with copies of the answers
    bucket: str | None = None  # bucket with copies of the answers, instead of a dataset

    def __post_init__(self) -> None:
        for name in filter(None, (self.space, self.ratings, self.bucket)):
            if not _NAME.fullmatch(name):
                raise GPENError(f"{name!r} is not a valid name on the Hub: use OWNER/NAME.")
        if self.ratings and self.bucket:
            raise GPENError("The answers are copied to one place: give --ratings or --bucket, not both.")


@dataclass(frozen=True)
class Plan:
    """A deployment."""

    request: Request
    commit: Commit
    files: Files
    variables: dict[str, str]
    secrets: dict[str, str] = field(repr=False)
    storage: str  # where the answers are, and which of them a failure loses
    notes: tuple[str, ...]

    def unpack(self, folder: Path) -> None:
        """Write the files to a folder, as the Space receives them."""
        for name, data in self.files.items():
            write_atomically(folder / name, data)

    def describe(self) -> str:
        """All of it as text, without the values of secrets."""
        size = sum(map(len, self.files.values())) / 2**20
        lines = [*self.files, "", f"{len(self.files)} files, {size:.1f} MiB, of the commit {self.commit.id[:12]}."]
        lines += ["All other files of the Space are deleted.", "", f"Space: {self.request.space}"]
        lines += [f"Variable {name}: {value}" for name, value in self.variables.items()] or ["Variables: none"]
        lines += [f"Secret {name}: set from the environment" for name in self.secrets] or ["Secrets: none"]
        if self.request.bucket:
            lines.append(f"Volume: bucket {self.request.bucket} at {MOUNT}")
        lines += [
            f"Storage: {self.storage}",
            "Hardware: as set on the Hub, cpu-basic for a new Space; docs/deployment.md has costs.",
        ]
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def make_plan(request: Request, environment: Mapping[str, str], own_token: str | None, root: Path = ROOT) -> Plan:
    """Plan a deployment of the last commit. own_token: of the owner, which is never given to the Space.

    Raises GPENError for a folder without a study, a file without a model, an unknown name, and a missing or unsafe token.
    """
    commit = last_commit(root)
    notes, variables = [], {name: environment[name] for name in COPIED if environment.get(name)}
    secrets = {name: environment[name] for name in SECRETS if environment.get(name)}
    files, kept = dict(commit.files), None
    if request.study:
        files, kept = _with_study(request.study, files, root)
        variables["GPEN_STUDY"] = kept
        notes.append("the files of a public Space are public, also the methods in study.json: choose --visibility protected.")
    files, private = without_studies(files, kept)
    notes += [f"the study {folder} is not uploaded: name it with --study." for folder in private]
    if request.model:
        variables |= _with_model(request.model, files, notes)
    if request.ratings:
        secrets["HF_TOKEN"] = _ratings_token(environment, own_token)
    if request.ratings or request.bucket:
        variables["GPEN_VOTES_REPO"] = request.ratings or MOUNT
    files["README.md"] = card(files["README.md"].decode(), request.space, variables).encode()
    if commit.untracked:
        notes.append(f"not committed and not uploaded: {_few(commit.untracked)}.")
    if commit.changed:
        notes.append(f"changes that are not committed prevent an upload: {_few(commit.changed)}.")
    return Plan(request, commit, dict(sorted(files.items())), variables, secrets, _storage(request, secrets), tuple(notes))


def card(readme: str, space: str, variables: Mapping[str, str]) -> str:
    """README.md, whose front matter configures the Space, with the name of the Space, and with the login if raters need it."""
    if variables.get("GPEN_LOGIN") == "1":
        readme = readme.replace("---\n", "---\nhf_oauth: true\n", 1)
    return readme.replace("spaces/OWNER/NAME/", f"spaces/{space}/", 1)


def _with_study(folder: Path, files: Files, root: Path) -> tuple[Files, str]:
    """The files with the study, and its path in the Space."""
    inside = folder.resolve()
    if inside.is_relative_to(root) and f"{inside.relative_to(root).as_posix()}/study.json" in files:
        return files, inside.relative_to(root).as_posix()
    return files | study_files(folder, STUDY), STUDY


def _with_model(model: str, files: Files, notes: list[str]) -> dict[str, str]:
    """Add the file of a model to `files` unless the commit has it or the Space downloads it; returns the variables."""
    if checkpoints.is_name(model):
        if model in checkpoints.PUBLISHED_MODELS:
            return _with_digest(model, files, notes)
        if any(path in files for path in (f"assets/{model}.safetensors", f"assets/{model}.pth")):
            return {"GPEN_MODEL": model}
    file = checkpoints.find(model)
    gpen.load(file)  # a Space with a file that cannot be loaded would not start
    files[f"{MODELS}/{file.name}"] = file.read_bytes()
    return {"GPEN_MODEL": f"{MODELS}/{file.name}"}


def _with_digest(model: str, files: Files, notes: list[str]) -> dict[str, str]:
    """The variables for a published model, whose digest travels if it is known here: the Space accepts no other file."""
    pinned = download.pinned_file(f"{model}.pth")
    if pinned is None:
        notes.append(f"{model} was not downloaded here, so that the Space accepts the first file that it receives: load it once.")
        return {"GPEN_MODEL": model}
    files[f"{MODELS}/{pinned.name}"] = pinned.read_bytes()
    return {"GPEN_MODEL": model, "GPEN_MODELS": MODELS}


def _ratings_token(environment: Mapping[str, str], own_token: str | None) -> str:
    token = environment.get(RATINGS_TOKEN)
    if not token:
        raise GPENError(
            f"--ratings needs a token for the Space: create a fine-grained one with write access to this dataset only, and set "
            f"{RATINGS_TOKEN} to it."
        )
    if token in (own_token, *(environment.get(name) for name in OWN_TOKENS)):
        raise GPENError(
            f"{RATINGS_TOKEN} is your own token, which a Space must not have: create a fine-grained one with write access to the "
            "dataset only."
        )
    return token


def _storage(request: Request, secrets: Mapping[str, str]) -> str:
    lost = "the page keeps answers until they are copied and sends them again, so that only closed pages lose some"
    if "DATABASE_URL" in secrets:
        return "answers are in the database DATABASE_URL; none is lost with the Space."
    if request.bucket:
        return (
            f"answers are copied to the bucket every {PERIOD:.0f} s and at a regular end. Window of loss after a crash: "
            f"{PERIOD:.0f} s and up to 30 s until the bucket has the file; {lost}."
        )
    if request.ratings:
        return (
            f"answers are copied to the dataset every {PERIOD:.0f} s and at a regular end. Window of loss after a crash: "
            f"{PERIOD:.0f} s; {lost}."
        )
    return "answers are on the disk of the Space, which is empty after every restart: give --bucket or --ratings for a study."


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
