"""The base install runs `gpen restore --aligned`, extras are named when they are missing, and versions agree between files."""

import re
import subprocess
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from gpen.errors import GPENError
from gpen.faces.samples import SAMPLES
from gpen.images import write_image
from gpen.optional import import_optional
from tests import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
MODULES = {  # distribution: module, where the names differ
    "facenet-pytorch": "facenet_pytorch", "pytorch-fid": "pytorch_fid", "scikit-image": "skimage", "sqlalchemy": "sqlalchemy",
    "psycopg": "psycopg", "huggingface_hub": "huggingface_hub",
}  # fmt: skip
FIXED = {  # distribution: first version without a known hole on what this project does with it, and the hole
    "torch": ("2.10", "CVE-2026-24747: torch.load with weights_only corrupts memory"),
    "pillow": ("12.3", "CVE-2026-59205, CVE-2026-59199: ImageCms and Image.paste write out of bounds"),
    "opencv-python": ("4.12", "CVE-2025-53644: a JPEG 2000 file causes a write out of bounds"),
    "pillow-heif": ("1.6", "CVE-2026-62289, CVE-2026-28231: HEIC files, also in libheif"),
    "onnx": ("1.21", "CVE-2026-27489: external data outside of the folder of a model"),
    "tqdm": ("4.66.3", "CVE-2024-34062: code in options of the command line"),
    "pytest": ("9.0.3", "CVE-2025-71176: predictable temporary folders"),
    "setuptools": ("78.1.1", "CVE-2025-47273: files outside of the target folder"),
}
WITHOUT_EXTRAS = """
import sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # importing it raises ImportError
from gpen.cli import main
main(sys.argv[2:])
"""


def distribution(requirement: str) -> str:
    return re.match(r"[\w-]+", requirement).group().lower()


def optional_modules() -> set[str]:
    names = {distribution(requirement) for extra in EXTRAS.values() for requirement in extra} - {"gpen"}
    return {MODULES.get(name, name) for name in names}


def run_without_extras(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", WITHOUT_EXTRAS, ",".join(sorted(optional_modules())), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    path = tmp_path_factory.mktemp("face") / "face.png"
    write_image(path, SAMPLES["astronaut"].load(64))
    return path


@pytest.mark.slow
def test_base_install_restores_an_aligned_face(face, tmp_path):
    done = run_without_extras("restore", str(face), "--aligned", "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "face.png").is_file()


@pytest.mark.slow
def test_missing_extra_is_one_sentence_with_the_pip_command(face, tmp_path):
    done = run_without_extras("restore", str(face), "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.strip().endswith('which is not installed: pip install "gpen[photo]".')


def test_import_optional():
    assert import_optional("json", "video", "Video restoration").dumps([]) == "[]"
    with pytest.raises(GPENError, match='^Video restoration needs the package none_such, .*: pip install "gpen.video."[.]$'):
        import_optional("none_such.part", "video", "Video restoration")


def test_every_extra_named_in_the_code_exists():
    used = set()
    for path in [*(ROOT / "gpen").rglob("*.py"), *(ROOT / "eval").rglob("*.py"), *(ROOT / "demo").rglob("*.py")]:
        text = path.read_text()
        used |= set(re.findall(r'(?:import_optional|missing_package)\(\s*"[\w.]+", "(\w+)"', text))
        used |= set(re.findall(r"gpen\[(\w+)\]", text))
    assert used and used <= EXTRAS.keys()


def requirements(*files: str) -> dict[str, str]:
    lines = [line.strip() for file in files for line in (ROOT / file).read_text().splitlines()]
    return {distribution(line): line.lower() for line in lines if line and line[0] not in "#-"}


def test_requirements_agree_with_pyproject():
    listed = requirements("requirements.txt", "requirements-test.txt")
    groups = PROJECT["dependency-groups"]
    stated = [*PROJECT["project"]["dependencies"], *groups["test"], *(r for r in groups["dev"] if isinstance(r, str))]
    stated += [requirement for extra in EXTRAS.values() for requirement in extra]
    for requirement in stated:
        name = distribution(requirement)
        if name in listed:
            assert listed[name] == requirement.lower()


@pytest.mark.parametrize("name", FIXED)
def test_lowest_version_has_no_known_hole(name):
    stated = [*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"], *PROJECT["dependency-groups"]["test"]]
    stated += [requirement for extra in EXTRAS.values() for requirement in extra]
    floors = [Requirement(text).specifier for text in stated if isinstance(text, str) and distribution(text) == name]
    assert floors
    for floor in floors:
        lowest = next(Version(one.version) for one in floor if one.operator in (">=", "=="))
        assert lowest >= Version(FIXED[name][0]), FIXED[name][1]


def test_constraints_have_every_requirement():
    exact = requirements("constraints.txt")
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in exact.values())
    missing = {name.replace("_", "-") for name in requirements("requirements.txt", "requirements-test.txt")}
    assert missing <= {name.replace("_", "-") for name in exact}
