"""Puts the app up as a Space: `python -m demo.deploy --space OWNER/NAME [--ratings OWNER/DATASET] [--dry-run]`.

The Space is created where there is none, the files that the app needs are uploaded, and what else it needs goes from this
environment into the Space's secrets: GPEN_OWNER_TOKEN, DATABASE_URL and, with --ratings, the token that writes the dataset
(GPEN_RATINGS_TOKEN, best one that may write there alone, or HF_TOKEN). --dry-run lists it all and needs no network.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from gpen.errors import GPENError, exit_status

ROOT = Path(__file__).resolve().parents[1]
FILES = ("app.py", "README.md", "LICENSE", "requirements.txt", "packages.txt")
FOLDERS = ("gpen", "eval", "demo", "assets")
SECRETS = ("GPEN_OWNER_TOKEN", "DATABASE_URL")
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def files(root: Path = ROOT) -> list[str]:
    """What is uploaded, relative to the project's folder. Hidden files, compiled ones and links never are."""
    found = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*"))]
    names = [path.relative_to(root) for path in found if path.is_file() and not path.is_symlink()]
    hidden = [name for name in names if any(part[0] == "." or part == "__pycache__" for part in name.parts)]
    return [*FILES, *(name.as_posix() for name in names if name not in hidden)]


def settings(ratings: str | None, environment: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The Space's variables and its secrets."""
    secrets = {name: environment[name] for name in SECRETS if environment.get(name)}
    if not ratings:
        return {}, secrets
    token = environment.get("GPEN_RATINGS_TOKEN") or environment.get("HF_TOKEN")
    return {"GPEN_VOTES_REPO": ratings}, secrets | ({"HF_TOKEN": token} if token else {})


def deploy(space: str, ratings: str | None = None) -> str:
    """Create or update the Space and return its address. Raises GPENError where there is no token or the Hub refuses."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    token = get_token()
    if not token:
        raise GPENError("there is no token for the Hub: run `hf auth login` or set HF_TOKEN")
    variables, secrets = settings(ratings, dict(os.environ) | {"HF_TOKEN": token})
    api = HfApi(token=token)
    try:
        url = api.create_repo(space, repo_type="space", space_sdk="gradio", exist_ok=True)
        for name, value in variables.items():
            api.add_space_variable(space, name, value)
        for name, value in secrets.items():
            api.add_space_secret(space, name, value)
        api.upload_folder(repo_id=space, repo_type="space", folder_path=ROOT, allow_patterns=files(), commit_message="Deploy")
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise GPENError(f"the Hub refused {space} ({status}): check the name, and that the token may write there") from None
    except Exception as error:  # requests' and httpx's errors of the net have no common parent but this
        raise GPENError(f"the Hub cannot be reached ({type(error).__name__}): check the connection, then try again") from None
    return str(url)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.deploy", description="Put the app up as a Hugging Face Space.")
    parser.add_argument("--space", required=True, metavar="OWNER/NAME")
    parser.add_argument("--ratings", metavar="OWNER/DATASET", help="a private dataset in which the votes are kept")
    parser.add_argument("--dry-run", action="store_true", help="list what would be done, offline")
    options = parser.parse_args(arguments)
    if status := exit_status(lambda: _put_up(options)):
        sys.exit(status)


def _put_up(options: argparse.Namespace) -> None:
    for name in filter(None, (options.space, options.ratings)):
        if not _NAME.fullmatch(name):
            raise GPENError(f"{name!r} is no name on the Hub: write OWNER/NAME")
    if not options.dry_run:
        print(deploy(options.space, options.ratings))
        return
    print(*files(), sep="\n")
    variables, secrets = settings(options.ratings, dict(os.environ))
    print(f"variables: {', '.join(variables) or 'none'}; secrets: {', '.join(secrets) or 'none'}")


if __name__ == "__main__":
    main()
