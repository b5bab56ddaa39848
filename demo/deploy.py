"""Deploy the page as a Hugging Face Space.

    python -m demo.deploy --space OWNER/NAME [--ratings OWNER/DATASET] [--dry-run]

The Space is created if it does not exist, the required files are uploaded, and secrets are copied from the environment:
GPEN_OWNER_TOKEN, DATABASE_URL and, with --ratings, the token that writes the dataset (GPEN_RATINGS_TOKEN, preferably with
write access to this dataset only, or HF_TOKEN). --dry-run lists all of this and needs no network.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from gpen.cli.parsing import Flag, parse
from gpen.errors import GPENError, exit_status

ROOT = Path(__file__).resolve().parents[1]
FILES = ("app.py", "README.md", "LICENSE", "requirements.txt", "packages.txt")
FOLDERS = ("gpen", "eval", "demo", "assets")
SECRETS = ("GPEN_OWNER_TOKEN", "DATABASE_URL")
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def files(root: Path = ROOT) -> list[str]:
    """Return the files to upload, relative to the project folder.

    Hidden files, caches and symbolic links are excluded.
    """
    found = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*"))]
    names = [path.relative_to(root) for path in found if path.is_file() and not path.is_symlink()]
    hidden = [name for name in names if any(part[0] == "." or part == "__pycache__" for part in name.parts)]
    return [*FILES, *(name.as_posix() for name in names if name not in hidden)]


def card(space: str) -> str:
    """Return README.md, whose front matter configures the Space, with the name of the Space in the address of the thumbnail."""
    return (ROOT / "README.md").read_text(encoding="utf-8").replace("spaces/OWNER/NAME/", f"spaces/{space}/", 1)


def settings(ratings: str | None, environment: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the variables and the secrets of the Space."""
    secrets = {name: environment[name] for name in SECRETS if environment.get(name)}
    if not ratings:
        return {}, secrets
    token = environment.get("GPEN_RATINGS_TOKEN") or environment.get("HF_TOKEN")
    return {"GPEN_VOTES_REPO": ratings}, secrets | ({"HF_TOKEN": token} if token else {})


def deploy(space: str, ratings: str | None = None) -> str:
    """Create or update the Space and return its URL.

    Raises GPENError without a token or if the Hub refuses.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    token = get_token()
    if not token:
        raise GPENError("There is no token for the Hugging Face Hub: run `hf auth login` or set HF_TOKEN.")
    variables, secrets = settings(ratings, dict(os.environ) | {"HF_TOKEN": token})
    api = HfApi(token=token)
    try:
        url = api.create_repo(space, repo_type="space", space_sdk="gradio", exist_ok=True)
        for name, value in variables.items():
            api.add_space_variable(space, name, value)
        for name, value in secrets.items():
            api.add_space_secret(space, name, value)
        with tempfile.TemporaryDirectory() as folder:
            for name in files():
                target = Path(folder, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target)
            Path(folder, "README.md").write_text(card(space), encoding="utf-8")
            api.upload_folder(repo_id=space, repo_type="space", folder_path=folder, commit_message="Deploy")
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise GPENError(f"The Hub refused {space} ({status}): check the name and the write access of the token.") from None
    except Exception as error:  # network errors of requests and httpx have no other common base class
        raise GPENError(f"The Hub cannot be reached ({type(error).__name__}): check the connection and try again.") from None
    return str(url)


@dataclass(frozen=True)
class Options:
    """Deploy the page as a Hugging Face Space."""

    space: Annotated[str, arg(metavar="OWNER/NAME")]  # Space to create or update
    ratings: Annotated[str | None, arg(metavar="OWNER/DATASET")] = None  # private dataset that stores the votes; None: no dataset
    dry_run: Flag = False  # list files, variables and secrets without uploading; needs no network


def main(arguments: list[str] | None = None) -> None:
    options = parse(Options, arguments, "python -m demo.deploy")
    if status := exit_status(lambda: _put_up(options)):
        sys.exit(status)


def _put_up(options: Options) -> None:
    for name in filter(None, (options.space, options.ratings)):
        if not _NAME.fullmatch(name):
            raise GPENError(f"{name!r} is not a valid name on the Hub: use OWNER/NAME.")
    if not options.dry_run:
        print(deploy(options.space, options.ratings))
        return
    print(*files(), sep="\n")
    variables, secrets = settings(options.ratings, dict(os.environ))
    print(f"variables: {', '.join(variables) or 'none'}; secrets: {', '.join(secrets) or 'none'}")


if __name__ == "__main__":
    main()
