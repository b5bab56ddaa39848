"""The lock of a Space: exact versions with digests that satisfy the requirements, and the audit of its packages."""

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from demo.deploy import audit, lock
from demo.deploy.tree import LOCK
from gpen.errors import GPENError
from tests import ROOT

PINS = {canonicalize_name(name): pin for name, pin in lock.read_lock((ROOT / LOCK).read_text()).items()}


def constraints() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line and not line.startswith("#")]
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


def test_every_package_has_one_version_and_one_digest():
    lines = [line for line in (ROOT / LOCK).read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+ \\", line) for line in lines[::2])
    assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}", line) for line in lines[1::2])
    assert (
        len(lines) == 2 * len(PINS) and f"Python {sys.version_info.major}.{sys.version_info.minor}" in (ROOT / LOCK).read_text()
    )


def test_lock_satisfies_the_requirements_and_agrees_with_the_tested_versions():
    requirements = [Requirement(line) for line in (ROOT / "requirements.txt").read_text().split()]
    for requirement in requirements:
        assert PINS[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    tested = constraints()
    assert {name: pin for name, pin in PINS.items() if name in tested} == {name: tested[name] for name in PINS if name in tested}
    assert "jupyter" not in PINS and "pytest" not in PINS


@pytest.mark.slow
def test_requirements_are_installed_without_the_network():
    """Every requirement of the Space, and of its packages, is met by the versions of this environment."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "-r", str(ROOT / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and "Would install" not in done.stdout, done.stderr
    for name, pin in PINS.items():
        try:
            assert Version(version(name)).public == pin, name
        except PackageNotFoundError:  # packages for CUDA, and those that only the builder of the Hub asks for
            pass


def package(name="a", pin="1.0", **info):
    return {"metadata": {"name": name, "version": pin}, "download_info": info}


def test_lock_is_written_from_a_report_of_pip(tmp_path, monkeypatch):
    digest = {"archive_info": {"hashes": {"sha256": "ab" * 32}}}
    report = {"install": [package("Zeta", "2.0", **digest), package("alpha", **digest)]}
    assert lock.lock_lines(report) == [
        f"alpha==1.0 \\\n    --hash=sha256:{'ab' * 32}", f"Zeta==2.0 \\\n    --hash=sha256:{'ab' * 32}",
    ]  # fmt: skip
    monkeypatch.setattr(lock, "resolve", lambda root: report)
    assert lock.read_lock(lock.write_lock(tmp_path).read_text()) == {"alpha": "1.0", "Zeta": "2.0"}
    for wrong in (package(), package(pin="1.0+cpu", **digest)):
        with pytest.raises(GPENError, match="is not a file of the index with a SHA-256"):
            lock.lock_lines({"install": [wrong]})


def test_every_build_audits_the_lock():
    assert "\nmake audit\n" in (ROOT / ".ci" / "run").read_text()
    assert "run: .ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "-m demo.deploy.audit" in (ROOT / "Makefile").read_text()


def audited(monkeypatch, output):
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=output))
    return audit.audit()


def test_known_hole_fails_the_audit(monkeypatch, capsys):
    hole = {"id": "CVE-1", "fix_versions": ["1.1"]}
    found = [{"name": "a", "version": "1.0", "vulns": [hole]}, {"name": "b", "version": "2.0", "vulns": []}]
    assert audited(monkeypatch, json.dumps({"dependencies": found})) == 1
    assert capsys.readouterr().out == "a 1.0: CVE-1, fixed in 1.1\n2 of 2 packages audited, 1 known holes.\n"
    assert audited(monkeypatch, json.dumps({"dependencies": found[1:]})) == 0


@pytest.mark.parametrize("output", ["", '{"dependencies": [{"name": "a", "skip_reason": "not found"}]}'])
def test_audit_that_cannot_run_says_so(monkeypatch, capsys, output):
    assert audited(monkeypatch, output) == 0
    assert capsys.readouterr().out.startswith("requirements-lock.txt was not audited: ")
