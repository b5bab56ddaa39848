"""The lock of a run's folder, and the id of an environment."""

import signal
import subprocess
import sys

import pytest

from gpen import environment as module
from gpen.environment import differences, environment, environment_id
from gpen.errors import GPENError
from gpen.folder_lock import lock_folder
from tests import ROOT

HOLD = """
import sys, time
from gpen.folder_lock import lock_folder
with lock_folder(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_second_process_is_refused_until_the_first_ends_or_is_killed(tmp_path):
    first = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout.readline() == "locked\n"
        with pytest.raises(GPENError, match="^Another process writes to .*run: wait until it ends, or choose another --out[.]$"):
            with lock_folder(tmp_path / "run"):
                pytest.fail("two processes hold the lock")
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
        first.stdout.close()
    with lock_folder(tmp_path / "run"):
        pass
    with lock_folder(tmp_path / "run"):  # released
        pass


def test_every_part_of_an_environment_changes_its_id(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("x = 1\n")
    start = environment("cpu", ["torch", "numpy"], [tmp_path], batch=8)
    assert environment_id(environment("cpu", ["torch", "numpy"], [tmp_path], batch=8)) == environment_id(start)
    ids = {environment_id(start), environment_id(environment("cpu", ["torch", "numpy"], [tmp_path], batch=4))}
    monkeypatch.setattr(module, "version", lambda package: "9.9")
    ids.add(environment_id(environment("cpu", ["torch", "numpy"], [tmp_path], batch=8)))
    monkeypatch.undo()
    monkeypatch.setattr(module, "processor", lambda: "another processor")
    ids.add(environment_id(environment("cpu", ["torch", "numpy"], [tmp_path], batch=8)))
    monkeypatch.undo()
    module.code_hash.cache_clear()
    (tmp_path / "a.py").write_text("x = 2\n")
    changed = environment("cpu", ["torch", "numpy"], [tmp_path], batch=4)
    assert len(ids | {environment_id(changed)}) == 5
    assert differences(start, changed) == "the source code; batch 8, now 4" and differences(start, start) == ""


def test_file_renamed_within_the_code_changes_its_hash(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    before = module.code_hash(tmp_path)
    module.code_hash.cache_clear()
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert module.code_hash(tmp_path) != before
