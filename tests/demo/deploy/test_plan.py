"""What a deployment uploads and sets: committed files only, no private study, no token of the owner."""

import re
import subprocess

import pytest
import yaml

import gpen
from demo.deploy import __main__ as command
from demo.deploy import plan as module
from demo.deploy import tree
from demo.deploy.plan import Request, make_plan
from gpen.errors import GPENError
from gpen.models import download
from tests import ROOT

OWN = "hf_owner"


def git(root, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", root, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path):
    """A Git repository with the files of a Space, a private study in assets/ that is committed, and files beside them."""
    root = tmp_path / "project"
    for name in (*tree.FILES, tree.LOCK, "gpen/a.py", "demo/.hidden", "tests/a.py", "assets/study/study.json"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"committed {name}\n")
    (root / "README.md").write_text("---\nthumbnail: https://huggingface.co/spaces/OWNER/NAME/resolve/main/a.jpg\n---\n")
    (root / "assets/secret/images").mkdir(parents=True)
    for name in ("study.json", "images/a.png"):
        (root / "assets/secret" / name).write_text("private")
    (root / "demo/link.py").symlink_to("/etc/passwd")
    (root / ".gitignore").write_text("*.pyc\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    return root


def planned(project, environment=None, **named):
    return make_plan(Request("me/faces", **named), environment or {}, OWN, project)


def test_files_are_those_of_the_commit(project):
    """Failure sequence: notes and a private study in assets/, and changes that nobody reviewed, were uploaded."""
    (project / "assets/notes.txt").write_text("private")
    (project / "gpen/b.pyc").write_text("compiled")
    (project / "gpen/a.py").write_text("not committed")
    found = planned(project)
    expected = {*tree.FILES, tree.SPACE_LOCK, "gpen/a.py", "demo/.hidden", "assets/study/study.json"}
    assert set(found.files) == expected and found.files["gpen/a.py"] == b"committed gpen/a.py\n"
    assert found.files[tree.SPACE_LOCK] == b"committed requirements-lock.txt\n"
    assert found.commit.changed == ("gpen/a.py",) and found.commit.untracked == ("assets/notes.txt",)
    assert "the study assets/secret is not uploaded: name it with --study." in found.notes
    assert "not committed and not uploaded: assets/notes.txt." in found.notes
    assert "changes that are not committed prevent an upload: gpen/a.py." in found.notes


def test_the_lock_is_installed_before_everything_else(project):
    """A Space installs pre-requirements.txt first; pip accepts files with the digests of the lock only."""
    found = planned(project)
    assert found.files["pre-requirements.txt"] == b"committed requirements-lock.txt\n"
    assert "requirements-lock.txt" not in found.files and "requirements.txt" in found.files


def test_file_that_is_not_committed_is_an_error(project):
    git(project, "rm", "-q", "--cached", tree.LOCK)
    git(project, "commit", "-qm", "without the lock")
    with pytest.raises(GPENError, match="has no requirements-lock.txt, which a Space needs: commit it."):
        planned(project)
    with pytest.raises(GPENError, match="is not a Git repository with a commit .*: deploy from a clone of the project."):
        planned(project.parent)


def test_named_study_and_model_travel(project, study, model_file):
    found = planned(project, study=study, model=str(model_file))
    assert found.variables == {"GPEN_STUDY": "study", "GPEN_MODEL": "models/random.safetensors"}
    assert found.files["models/random.safetensors"] == model_file.read_bytes()
    images = {f"study/images/{path.name}" for path in (study / "images").iterdir()}
    assert {path for path in found.files if path.startswith("study/")} == {"study/study.json"} | images
    assert any("--visibility protected" in note for note in found.notes)


def test_committed_study_that_is_named_stays_where_it_is(project):
    found = planned(project, study=project / "assets/secret")
    assert found.variables["GPEN_STUDY"] == "assets/secret" and "assets/secret/images/a.png" in found.files


def test_published_model_is_downloaded_by_the_space_with_the_digest_that_is_known_here(project, tmp_path, monkeypatch):
    monkeypatch.setenv("GPEN_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = planned(project, model="GPEN-BFR-512")
    assert found.variables == {"GPEN_MODEL": "GPEN-BFR-512"} and any("load it once" in note for note in found.notes)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "GPEN-BFR-512.pth.sha256").write_text(f"{'a' * 64}  GPEN-BFR-512.pth\n")
    found = planned(project, model="GPEN-BFR-512")
    assert found.variables == {"GPEN_MODEL": "GPEN-BFR-512", "GPEN_MODELS": "models"}
    assert found.files["models/GPEN-BFR-512.pth.sha256"].startswith(b"a" * 64)
    monkeypatch.chdir(tmp_path)
    found_there = download.pinned_file("GPEN-BFR-512.pth")
    assert found_there is not None and found_there.name == "GPEN-BFR-512.pth.sha256"


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"model": "no-such-model"}, "No model is called 'no-such-model'"),
        ({"model": "missing.pth"}, "There is no file missing.pth"),
        ({"study": ROOT / "docs"}, "docs is not a study"),
        ({"ratings": "ratings"}, "'ratings' is not a valid name on the Hub: use OWNER/NAME."),
        ({"ratings": "me/a", "bucket": "me/b"}, "give --ratings or --bucket, not both."),
    ],
)
def test_wrong_names_are_errors(project, named, words):
    with pytest.raises(GPENError, match=words):
        planned(project, **named)


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "login"])
def test_own_token_never_becomes_a_secret(project, name):
    """Failure sequence: without GPEN_RATINGS_TOKEN, the token of the owner became the secret HF_TOKEN of the Space."""
    environment = {name: OWN} if name != "login" else {}
    with pytest.raises(GPENError, match="--ratings needs a token for the Space: create a fine-grained one"):
        planned(project, environment, ratings="me/ratings")
    with pytest.raises(GPENError, match="GPEN_RATINGS_TOKEN is your own token, which a Space must not have"):
        planned(project, environment | {"GPEN_RATINGS_TOKEN": OWN}, ratings="me/ratings")
    for named in ({"ratings": "me/ratings"}, {"bucket": "me/bucket"}, {}):
        found = planned(project, environment | {"GPEN_RATINGS_TOKEN": "hf_dataset"}, **named)
        assert OWN not in found.secrets.values() and OWN not in found.describe() and "hf_dataset" not in found.describe()
        assert found.secrets == ({"HF_TOKEN": "hf_dataset"} if "ratings" in named else {})


def test_variables_and_secrets_come_from_the_environment_and_are_listed(project):
    environment = {"GPEN_ENGINE": "onnx", "GPEN_LOGIN": "1", "GPEN_OWNER_TOKEN": "secret-word", "GPEN_STUDY": "/home/me/study"}
    text = (found := planned(project, environment)).describe()
    assert found.variables == {"GPEN_ENGINE": "onnx", "GPEN_LOGIN": "1"} and found.secrets == {"GPEN_OWNER_TOKEN": "secret-word"}
    assert "Variable GPEN_ENGINE: onnx" in text and "Secret GPEN_OWNER_TOKEN: set" in text and "secret-word" not in text
    assert f"{len(found.files)} files" in text and "gpen/a.py\n" in text and "are deleted" in text
    front = yaml.safe_load(found.files["README.md"].decode().split("---\n")[1])
    assert front["hf_oauth"] is True and front["thumbnail"].startswith("https://huggingface.co/spaces/me/faces/")
    assert "hf_oauth" not in planned(project).files["README.md"].decode()


@pytest.mark.parametrize(
    ("named", "environment", "words", "variable"),
    [
        (
            {"bucket": "me/bucket"},
            {},
            "copied to the bucket every 60 s .* Window of loss after a crash: 60 s and up to 30 s",
            "/data",
        ),
        (
            {"ratings": "me/a"},
            {"GPEN_RATINGS_TOKEN": "hf_x"},
            "dataset every 60 s .* Window of loss after a crash: 60 s;",
            "me/a",
        ),
        ({}, {"DATABASE_URL": "postgresql://x"}, "in the database DATABASE_URL; none is lost", None),
        ({}, {}, "empty after every restart: give --bucket or --ratings for a study", None),
    ],
)
def test_storage_states_the_window_of_loss(project, named, environment, words, variable):
    found = planned(project, environment, **named)
    assert re.search(words, found.storage) and f"Storage: {found.storage}" in found.describe()
    assert found.variables.get("GPEN_VOTES_REPO") == variable


def test_dry_run_prints_the_plan_and_uploads_nothing(project, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("demo.deploy.space.upload", lambda *_: pytest.fail("a dry run must not upload"))
    monkeypatch.setattr(command, "make_plan", lambda request, *_: make_plan(request, {}, OWN, project))
    command.main(["--space", "me/faces", "--bucket", "me/bucket", "--dry-run"])
    printed = capsys.readouterr().out
    assert "Volume: bucket me/bucket at /data\n" in printed and "Storage: " in printed and "app.py\n" in printed
    command.main(["--space", "me/faces", "--unpack", str(tmp_path / "out")])
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == set(planned(project).files)
    with pytest.raises(SystemExit):
        command.main(["--space", "me/faces", "--unpack", str(tmp_path / "out")])
    assert capsys.readouterr().err.endswith("out exists: give a new folder.\n")


def test_this_project_can_be_deployed():
    if not (ROOT / ".git").exists():
        pytest.skip("This is not a git repository.")
    found = make_plan(Request("me/faces"), {}, None)
    assert {"app.py", "packages.txt", "demo/static/rate.js", "gpen/training/config.py", "assets/study/study.json"} <= set(
        found.files
    )
    assert not any(name.startswith(("tests/", "runs/", "notebooks/", "bench/", "docs/")) for name in found.files)
    assert "assets/gpen-256.safetensors" in found.files and gpen.load().size == 256
    assert module.MOUNT not in found.variables.values()
