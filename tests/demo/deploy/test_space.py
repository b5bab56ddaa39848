"""Upload to the Hub: one commit with deletions, variables and secrets before it, refusals; against a replacement of HfApi."""

from types import SimpleNamespace

import huggingface_hub
import pytest

from demo.deploy import __main__ as command
from demo.deploy.plan import Plan, Request
from demo.deploy.space import upload
from demo.deploy.tree import Commit
from gpen.errors import GPENError


class Hub:
    """Replacement for huggingface_hub.HfApi that records its calls, for a Space with an earlier deployment."""

    calls: list = []
    role = "fineGrained"
    bucket_private = True

    def __init__(self, token):
        self.token = token

    def __getattr__(self, name):
        def call(*arguments, **named):
            Hub.calls.append((name, *arguments, named))

        return call

    def whoami(self):
        return {"name": "me", "auth": {"accessToken": {"role": Hub.role}}}

    def create_repo(self, name, **named):
        Hub.calls.append(("create_repo", name, named))
        return f"https://huggingface.co/spaces/{name}"

    def bucket_info(self, name):
        return SimpleNamespace(private=Hub.bucket_private)

    def get_space_variables(self, space):
        return {"GPEN_STUDY": "old", "GPEN_ENGINE": "onnx", "MINE": "kept"}

    def get_space_secrets(self, space):
        return {"HF_TOKEN": None, "GPEN_OWNER_TOKEN": None}

    def repo_info(self, space, repo_type):
        return SimpleNamespace(sha="5a")

    def list_repo_files(self, space, repo_type):
        return [".gitattributes", "app.py", "assets/private/study.json", "old.py"]


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setattr(Hub, "calls", [])
    return Hub


def plan(secrets=None, changed=(), **named):
    request = Request("me/faces", **named)
    commit = Commit("c0ffee" * 7, {}, changed, ())
    return Plan(request, commit, {"app.py": b"new", "b.py": b"b"}, {"GPEN_ENGINE": "torch"}, secrets or {}, "", ())


def names(hub):
    return [call[0] for call in hub.calls]


def test_files_are_replaced_in_one_commit_after_the_settings(hub):
    """Failure sequence: files of earlier uploads stayed in the Space for ever."""
    assert upload(plan({"GPEN_OWNER_TOKEN": "x"}), "hf_mine", "protected") == "https://huggingface.co/spaces/me/faces"
    name, space, operations, named = hub.calls[-1]
    assert (name, space, named) == (
        "create_commit", "me/faces", {"commit_message": "Deploy c0ffeec0ffee", "repo_type": "space", "parent_commit": "5a"},
    )  # fmt: skip
    assert [(type(one).__name__, one.path_in_repo) for one in operations] == [
        ("CommitOperationDelete", "assets/private/study.json"), ("CommitOperationDelete", "old.py"),
        ("CommitOperationAdd", "app.py"), ("CommitOperationAdd", "b.py"),
    ]  # fmt: skip
    assert names(hub).count("create_commit") == 1 and hub.calls[0][2]["visibility"] == "protected"
    assert ("add_space_variable", "me/faces", "GPEN_ENGINE", "torch", {}) in hub.calls
    assert ("add_space_secret", "me/faces", "GPEN_OWNER_TOKEN", "x", {}) in hub.calls


def test_settings_of_an_earlier_deployment_are_removed(hub):
    upload(plan(), "hf_mine")
    removed = [call[:3] for call in hub.calls if call[0].startswith("delete_space")]
    assert removed == [("delete_space_variable", "me/faces", "GPEN_STUDY"), ("delete_space_secret", "me/faces", "HF_TOKEN")]


def test_bucket_is_created_private_and_mounted(hub, monkeypatch):
    upload(plan(bucket="me/bucket"), "hf_mine")
    assert ("create_bucket", "me/bucket", {"private": True, "exist_ok": True}) in hub.calls
    ((volume,),) = [call[2] for call in hub.calls if call[0] == "set_space_volumes"]
    assert volume.to_dict() == {"type": "bucket", "source": "me/bucket", "mountPath": "/data"}
    assert names(hub).index("set_space_volumes") < names(hub).index("create_commit")
    monkeypatch.setattr(hub, "bucket_private", False)
    with pytest.raises(GPENError, match="The bucket me/bucket is public, so that the answers would be: make it private."):
        upload(plan(bucket="me/bucket"), "hf_mine")


@pytest.mark.parametrize("role", ["write", "admin"])
def test_token_with_access_to_everything_is_refused(hub, monkeypatch, role):
    monkeypatch.setattr(hub, "role", role)
    with pytest.raises(GPENError, match=f"GPEN_RATINGS_TOKEN has the role '{role}'.* write access to me/ratings only."):
        upload(plan({"HF_TOKEN": "hf_x"}, ratings="me/ratings"), "hf_mine")
    assert hub.calls == []
    monkeypatch.setattr(hub, "role", "fineGrained")
    upload(plan({"HF_TOKEN": "hf_x"}, ratings="me/ratings"), "hf_mine")
    assert ("add_space_secret", "me/faces", "HF_TOKEN", "hf_x", {}) in hub.calls


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no token", "There is no token for the Hugging Face Hub: run `hf auth login` or set HF_TOKEN."),
        ("changes", "gpen/a.py has changes that are not committed: commit or stash them."),
        ("no network", "The Hub cannot be reached .ConnectionError.: check the connection and try again."),
    ],
)
def test_nothing_is_uploaded_after_an_error(hub, monkeypatch, case, words):
    def fail(*_, **__):
        raise ConnectionError("no route")

    if case == "no network":
        monkeypatch.setattr(hub, "create_repo", fail)
    with pytest.raises(GPENError, match=words):
        upload(plan(changed=("gpen/a.py",) if case == "changes" else ()), None if case == "no token" else "hf_mine")
    assert "create_commit" not in names(hub)


def test_user_errors_exit_with_one_line(monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main(["--space", "faces"])
    assert (
        caught.value.code == 2 and capsys.readouterr().err == "error: 'faces' is not a valid name on the Hub: use OWNER/NAME.\n"
    )
    monkeypatch.setenv("GPEN_OWNER_TOKEN", "short")
    with pytest.raises(SystemExit):
        command.main(["--space", "me/faces", "--dry-run"])
    assert "GPEN_OWNER_TOKEN can be guessed" in capsys.readouterr().err
