"""Check the packages of a Space for known holes: pip-audit on requirements-lock.txt.

    python -m demo.deploy.audit     # or make audit; asks the advisories of the package index

Exit status 1 for a known hole. Where pip-audit is not installed or the advisories cannot be reached, it says so and exits with 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from demo.deploy.tree import LOCK, ROOT

TIMEOUT = 300.0  # s


def audit(lock: Path = ROOT / LOCK) -> int:
    """Print the known holes of the packages in a lock; returns the exit status."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--require-hashes", "--disable-pip", "-f", "json"]
    command += ["--progress-spinner", "off", "--timeout", "15"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, subprocess.TimeoutExpired):
        packages = []
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        print(f"{lock.name} was not audited: pip-audit is not installed, or the advisories cannot be reached.")
        return 0
    holes = [
        f"{package['name']} {package['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'no version'}"
        for package in audited
        for hole in package["vulns"]
    ]
    print(*holes, f"{len(audited)} of {len(packages)} packages audited, {len(holes)} known holes.", sep="\n")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(audit())
