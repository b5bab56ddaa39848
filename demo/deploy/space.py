"""Upload of a plan to the Hugging Face Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demo.deploy.plan import MANAGED, MOUNT, Plan
from gpen.errors import GPENError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

KEPT = (".gitattributes",)  # file of the Hub
UNSAFE_ROLES = ("write", "admin")  # of tokens with access to all repositories of an account


def upload(plan: Plan, token: str | None, visibility: str = "public") -> str:
    """Create or update the Space and return its URL.

    Variables, secrets and the volume are set before the files, which replace all earlier ones in one commit. Raises GPENError
    without a token, with changes that are not committed, for an unsafe token or a public bucket, and if the Hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    if not token:
        raise GPENError("There is no token for the Hugging Face Hub: run `hf auth login` or set HF_TOKEN.")
    if plan.commit.changed:
        raise GPENError(f"{plan.commit.changed[0]} has changes that are not committed: commit or stash them.")
    space = plan.request.space
    try:
        api = HfApi(token=token)
        _check_ratings_token(plan)
        url = api.create_repo(space, repo_type="space", space_sdk="gradio", visibility=visibility, exist_ok=True)  # type: ignore
        if plan.request.bucket:
            _mount(api, space, plan.request.bucket)
        _set_variables(api, plan)
        _commit(api, plan)
        return str(url)
    except GPENError:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        raise GPENError(f"The Hub refused {space} ({status}): check the name and the write access of the token.") from None
    except Exception as error:  # network errors of requests and httpx have no other common base class
        raise GPENError(f"The Hub cannot be reached ({type(error).__name__}): check the connection and try again.") from None


def _check_ratings_token(plan: Plan) -> None:
    """Refuse a token of the Space that can write to all repositories of its account."""
    from huggingface_hub import HfApi

    if token := plan.secrets.get("HF_TOKEN"):
        role = HfApi(token=token).whoami().get("auth", {}).get("accessToken", {}).get("role")
        if role in UNSAFE_ROLES:
            raise GPENError(
                f"GPEN_RATINGS_TOKEN has the role {role!r}, with access to all your repositories: create a fine-grained token "
                f"with write access to {plan.request.ratings} only."
            )


def _mount(api: HfApi, space: str, bucket: str) -> None:
    from huggingface_hub import Volume

    api.create_bucket(bucket, private=True, exist_ok=True)
    if not api.bucket_info(bucket).private:
        raise GPENError(f"The bucket {bucket} is public, so that the answers would be: make it private.")
    api.set_space_volumes(space, [Volume(type="bucket", source=bucket, mount_path=MOUNT)])


def _set_variables(api: HfApi, plan: Plan) -> None:
    """Set variables and secrets; variables of an earlier deployment, and its token if there is none now, are removed."""
    space = plan.request.space
    for name in api.get_space_variables(space).keys() & set(MANAGED) - plan.variables.keys():
        api.delete_space_variable(space, name)
    for name, value in plan.variables.items():
        api.add_space_variable(space, name, value)
    for name, value in plan.secrets.items():
        api.add_space_secret(space, name, value)
    if "HF_TOKEN" not in plan.secrets and "HF_TOKEN" in api.get_space_secrets(space):
        api.delete_space_secret(space, "HF_TOKEN")


def _commit(api: HfApi, plan: Plan) -> None:
    """Replace all files of the Space in one commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    space = plan.request.space
    named: dict[str, Any] = {"repo_type": "space", "parent_commit": api.repo_info(space, repo_type="space").sha}
    old = set(api.list_repo_files(space, repo_type="space")) - plan.files.keys() - set(KEPT)
    operations: list[Any] = [CommitOperationDelete(name) for name in sorted(old)]
    operations += [CommitOperationAdd(name, data) for name, data in plan.files.items()]
    api.create_commit(space, operations, commit_message=f"Deploy {plan.commit.id[:12]}", **named)
