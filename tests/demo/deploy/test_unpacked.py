"""The files of a deployment run: unpack them, start the page with the packages of the lock only, rate, export, restart."""

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from bench.common.harness import free_port
from demo.deploy import lock
from demo.deploy.plan import Request, make_plan
from demo.deploy.tree import SPACE_LOCK
from eval.preference.survey import new_code
from tests import ROOT

OWNER = "0123456789-a-token-of-the-owner"
TIMEOUT = 400  # s, on a loaded machine
LOCKED_ONLY = """
import runpy, sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None  # importing it raises ImportError
sys.argv = sys.argv[2:]
if sys.argv[0] == "-m":
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
else:
    sys.path.insert(0, "")
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def modules_outside_of(locked: set[str]) -> str:
    """The top-level modules of installed distributions that a lock does not have."""
    found = importlib.metadata.packages_distributions()
    names = {name for name, owners in found.items() if not {canonicalize_name(owner) for owner in owners} & locked}
    return ",".join(sorted(name for name in names if re.fullmatch(r"[a-z]\w*", name) and name != "pkg_resources"))


def post(url: str, call: str, header: dict | None = None, **body):
    request = urllib.request.Request(
        f"{url}/study/{call}", json.dumps(body).encode(), {"Content-Type": "application/json"} | (header or {})
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        text = response.read().decode()
    return json.loads(text) if response.headers["Content-Type"].startswith("application/json") else text


class Space:
    """The unpacked files, started as the Hub starts them, with the bucket in a folder beside them."""

    def __init__(self, folder: Path, study: Path, model: Path):
        request = Request("me/faces", study, str(model), bucket="me/bucket")
        self.plan = make_plan(request, {"GPEN_OWNER_TOKEN": OWNER, "GPEN_PUBLIC_LEADERBOARD": "1"}, "hf_mine")
        self.files, self.bucket, self.home = folder / "app", folder / "data", folder / "home"
        self.plan.unpack(self.files)
        self.bucket.mkdir()
        locked = {canonicalize_name(name) for name in lock.read_lock((self.files / SPACE_LOCK).read_text())}
        self.command = [sys.executable, "-c", LOCKED_ONLY, modules_outside_of(locked)]
        own = {"HOME": str(self.home), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        settings = self.plan.variables | self.plan.secrets | {"GPEN_VOTES_REPO": str(self.bucket)}
        self.environment = own | settings | {"HF_HUB_OFFLINE": "1", "GPEN_DOWNLOAD_URL": ""}

    def start(self) -> str:
        """Start with an empty home folder and without votes, as after a restart; returns the address."""
        port = free_port()
        log = (self.files.parent / "log.txt").open("w")
        environment = self.environment | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
        environment["GPEN_VOTES"] = str(self.files.parent / f"votes-{port}.sqlite")
        self.process = subprocess.Popen([*self.command, "app.py"], cwd=self.files, env=environment, stdout=log, stderr=log)
        log.close()
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=TIMEOUT).close()
                return f"http://127.0.0.1:{port}"
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise RuntimeError(f"The unpacked page did not start:\n{(self.files.parent / 'log.txt').read_text()[-3000:]}")

    def stop(self) -> int:
        """End it as the Hub does; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT)


@pytest.mark.slow
def test_unpacked_files_run_with_the_locked_packages_and_keep_votes_over_a_restart(study, model_file, tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("This is not a git repository.")
    space, code = Space(tmp_path, study, model_file), new_code()
    assert Path(space.files, "models", model_file.name).is_file() and not (space.files / "tests").exists()
    try:
        url = space.start()
        assert post(url, "about")["title"] == "Which is <i>better</i>?"
        post(url, "consent", code=code)
        for number in range(2):
            (trial,) = post(url, "next", code=code, n=1)
            image = f"{url}/study/images/{trial['images'][0].rsplit('/', 1)[-1]}"
            assert urllib.request.urlopen(image, timeout=TIMEOUT).read()[:4] == b"\x89PNG"
            post(url, "answer", code=code, id=f"answer-{number:04}", trial=trial["trial"], choice="left", ms=900)
        exported = post(url, "owner/export/jsonl", {"X-Owner-Token": OWNER})
        assert [json.loads(line)["choice"] for line in exported.splitlines()] == ["left", "left"]
        space.stop()

        url = space.start()  # with an empty disk: the votes come from the bucket
        assert post(url, "resume", code=code)["consented"]
        assert post(url, "owner/export/jsonl", {"X-Owner-Token": OWNER}) == exported
        with pytest.raises(urllib.error.HTTPError, match="403|401"):
            post(url, "owner/export/jsonl", {"X-Owner-Token": "hf_mine"})
        votes = str(next(tmp_path.glob(f"votes-{url.rsplit(':')[-1]}.sqlite")))
        export = [*space.command, "-m", "eval", "study", "export", "--study", "study", "--votes", votes]
        done = subprocess.run(export, cwd=space.files, env=space.environment, capture_output=True, text=True, timeout=TIMEOUT)
        assert done.returncode == 0 and done.stdout == exported, done.stderr
    finally:
        space.stop()
