"""Deploy the page as a Hugging Face Space.

    python -m demo.deploy --space OWNER/NAME [--study DIR] [--model NAME] [--bucket OWNER/BUCKET | --ratings OWNER/DATASET]

The Space is created if it does not exist. It receives the files of the last commit, the named study and model, and no others.
Variables and secrets are set from the environment: GPEN_ENGINE, GPEN_PUBLIC_LEADERBOARD, GPEN_LOGIN, GPEN_ARENA;
GPEN_OWNER_TOKEN, DATABASE_URL and, with --ratings, GPEN_RATINGS_TOKEN, a token with write access to the dataset only. --dry-run
prints all of this and needs no network.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

from demo.deploy.plan import Request, make_plan
from demo.server import owner_access
from gpen.cli.parsing import Flag, parse
from gpen.errors import GPENError, exit_status

OptionalFolder = Annotated[Path | None, arg(metavar="DIR")]


@dataclass(frozen=True)
class Options:
    """Deploy the page as a Hugging Face Space."""

    space: Annotated[str, arg(metavar="OWNER/NAME")]  # Space to create or update
    study: OptionalFolder = None  # study of the Rate tab; None: the sample study
    model: Annotated[str | None, arg(metavar="NAME|FILE")] = (
        None  # a published model is downloaded by the Space; None: the default
    )
    bucket: Annotated[str | None, arg(metavar="OWNER/BUCKET")] = None  # private bucket that stores the answers
    ratings: Annotated[str | None, arg(metavar="OWNER/DATASET")] = None  # private dataset that stores the answers
    visibility: Literal["public", "protected", "private"] = "public"  # of a new Space; protected: a public page, private files
    dry_run: Flag = False  # print files, variables, names of secrets and storage without uploading; needs no network
    unpack: OptionalFolder = None  # write the files to this new folder instead of uploading them


def main(arguments: list[str] | None = None) -> None:
    if status := exit_status(lambda: _run(arguments)):
        sys.exit(status)


def _run(arguments: list[str] | None) -> None:
    from huggingface_hub import get_token

    options = parse(Options, arguments, "python -m demo.deploy")
    owner_access.check_token()
    token = get_token()
    request = Request(options.space, options.study, options.model, options.ratings, options.bucket)
    plan = make_plan(request, os.environ, token)
    if options.unpack:
        if options.unpack.exists():
            raise GPENError(f"{options.unpack} exists: give a new folder.")
        plan.unpack(options.unpack)
    print(plan.describe())
    if not options.dry_run and not options.unpack:
        from demo.deploy.space import upload

        print(upload(plan, token, options.visibility))


if __name__ == "__main__":
    main()
