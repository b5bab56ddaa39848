"""Write the links to Colab into the notebooks, or remove them: python notebooks/badges.py

The address of the repository is GPEN_REPOSITORY (https://github.com/OWNER/NAME), else Repository in [project.urls] of
pyproject.toml. Without an address the notebooks have no link, because it would lead nowhere.
"""

import os
import re
import tomllib
from pathlib import Path

import nbformat

FOLDER = Path(__file__).resolve().parent
BADGE = "\n\n[Open in Colab]"
CLONE = re.compile(r'^REPOSITORY = "[^"]*"', re.M)


def repository() -> str:
    """The address of the repository, "" if there is none."""
    urls = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"].get("urls", {})
    return os.environ.get("GPEN_REPOSITORY", urls.get("Repository", "")).rstrip("/")


def link(address: str, name: str) -> str:
    """The link of a notebook to Colab, with the blank line before it; "" without an address on GitHub."""
    place = address.removeprefix("https://github.com/")
    return f"{BADGE}(https://colab.research.google.com/github/{place}/blob/main/notebooks/{name})" if place != address else ""


def write(path: Path, address: str) -> None:
    """Set the link in the first cell, and the address in the first code cell of a notebook."""
    notebook = nbformat.read(path, as_version=4)
    first, setup = notebook.cells[:2]
    first["source"] = first["source"].split(BADGE)[0] + link(address, path.name)
    setup["source"] = CLONE.sub(f'REPOSITORY = "{address}"', setup["source"])
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for file in sorted(FOLDER.glob("*.ipynb")):
        write(file, repository())
