"""Sizes of folders, names of modules, imports that must be lazy, and words that the project does not use."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests import ROOT

MAX_SOURCES = 12  # Python files in a folder, without __init__.py
SHARED_NAMES = {"__init__", "__main__", "config"}
NOT_SEARCHED = {"tests/test_layout.py"}

# Words replaced by standard terms, as regular expressions with the term to use; whole words, upper or lower case.
WORDS = {
    r"films?": "video",
    r"leans? on|leaning on|lean_on_input": "output is a blend; blend_with_input",
    r"mends?|mended|mending": "workaround, patch",
    r"oracles?": "non-blind baseline, reference",
    r"judges?": "discriminator, NoReferenceMetric",
    r"recognisers?": "FaceRecognitionNet",
    r"chips": "crop_faces",
    r"frozen (seeded )?(low-quality |lq )?sets?": "LQ set",
    r"legs?": "phase, run",
    r"the game": "adversarial training",
    r"way to hear": "conditioning on w",
    r"stands? on": "is computed with, is based on",
    r"drawn from": "sampled from",
    r"the network's own": "the network output",
    r"several answers": "variations",
    r"ask people": "preference study",
    r"said aloud|wherein|upon": "(plain words)",
    r"as in the paper|as the paper (has|does)": "the paper's number",
}
CODE_WORDS = {  # the same for identifiers and keys of configuration files
    r"\bsides\(": "resolutions(",
    r"\bchips\b": "crop_faces",
    r"^\s*(shown|clip|decay|warmup|ema|images|plays) *= *\d": "images_seen, grad_clip, ...",
}
ALLOWED = {  # (file or folder, word)
    ("gpen/training/monitoring/curves.py", "leg"),
}


def tracked(*suffixes: str) -> list[str]:
    """Files of the repository, relative to its root."""
    if not (ROOT / ".git").exists():
        pytest.skip("This is not a git repository.")
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in names if name.endswith(suffixes) and (ROOT / name).is_file()]


def text(name: str) -> str:
    """Text of a file; of a notebook only the source of its cells."""
    content = (ROOT / name).read_text()
    if name.endswith(".ipynb"):
        return "\n".join("".join(cell["source"]) for cell in json.loads(content)["cells"])
    return content


def test_folders_are_small():
    counts = Counter(str(Path(name).parent) for name in tracked(".py") if not name.endswith("__init__.py"))
    assert {folder: count for folder, count in counts.items() if count > MAX_SOURCES} == {}


def test_module_names_are_unique():
    modules = [Path(name) for name in tracked(".py") if name.startswith("gpen/")]
    names = Counter(path.stem for path in modules if path.stem not in SHARED_NAMES)
    assert {name: count for name, count in names.items() if count > 1} == {}


def test_tests_mirror_the_packages():
    folders = {Path(name).parent for name in tracked(".py") if name.startswith("tests/")}
    missing = [folder for folder in folders if folder.parts[1:] and not (ROOT / Path(*folder.parts[1:])).is_dir()]
    assert missing == []


def test_every_module_states_what_it_is():
    packages = ("gpen/", "eval/", "demo/", "bench/", "tests/")
    modules = [name for name in tracked(".py") if name.startswith(packages) and (ROOT / name).stat().st_size]
    assert [name for name in modules if not text(name).startswith('"""')] == []


@pytest.mark.slow
def test_command_line_imports_training_lazily():
    code = "import sys, gpen.cli; print([name for name in sys.modules if name.startswith('gpen.training')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def found(patterns: dict[str, str], suffixes: tuple[str, ...], flags: re.RegexFlag, whole: bool) -> list[str]:
    hits = []
    for name in tracked(*suffixes):
        if name in NOT_SEARCHED:
            continue
        content = text(name)
        for pattern, term in patterns.items():
            for match in re.finditer(rf"\b(?:{pattern})\b" if whole else pattern, content, flags):
                word = match.group().strip()
                if any(name.startswith(place) and word.lower().startswith(allowed) for place, allowed in ALLOWED):
                    continue
                line = content.count("\n", 0, match.start()) + 1
                hits.append(f"{name}:{line}: {word!r}; write {term}")
    return hits


def test_words_of_the_style_guide():
    suffixes = (".py", ".md", ".toml", ".ipynb", ".js", ".css", "Makefile")
    assert found(WORDS, suffixes, re.IGNORECASE, whole=True) == []


def test_names_of_the_style_guide():
    assert found(CODE_WORDS, (".py", ".toml"), re.MULTILINE, whole=False) == []
