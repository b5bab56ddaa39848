"""Backup of the votes in a private dataset on the Hub, for a Space without a persistent disk.

Every few minutes the valid votes are written to STUDY/votes.jsonl and committed, and the history of the dataset is squashed, so
that undone and deleted votes are removed there too. A Space that starts with an empty store imports the votes. Votes since the
last commit are lost with the disk: set DATABASE_URL to avoid this.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.preference.survey import Survey
from gpen.errors import GPENError
from gpen.images import write_atomically

if TYPE_CHECKING:
    from huggingface_hub import CommitScheduler

MINUTES = 5


def mirror(survey: Survey, repo: str, folder: str | Path) -> "CommitScheduler":
    """Start the backup to the dataset `repo` ("user/name", created as private).

    `folder` is a scratch folder.

    Returns the huggingface_hub.CommitScheduler. Uses the token of the Hub (HF_TOKEN). Raises GPENError if the dataset cannot be
    reached.
    """
    from huggingface_hub import CommitScheduler
    from huggingface_hub.errors import HfHubHTTPError

    file = Path(folder) / survey.study.name / "votes.jsonl"

    class Mirror(CommitScheduler):
        """Writes the current votes before each commit."""

        def push_to_hub(self) -> Any:
            write_atomically(file, "".join(survey.export("jsonl")).encode())
            return super().push_to_hub()

    try:
        restore(survey, repo)
        return Mirror(
            repo_id=repo,
            repo_type="dataset",
            private=True,
            folder_path=folder,
            every=MINUTES,
            squash_history=True,
            allow_patterns=["*/votes.jsonl"],
        )
    except (HfHubHTTPError, OSError) as error:
        raise GPENError(f"The dataset {repo} cannot be reached; check the name and HF_TOKEN, or disable the backup.") from error


def restore(survey: Survey, repo: str) -> int:
    """Import the votes of this study from the dataset.

    Returns the number of new votes, 0 for an empty dataset.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        path = hf_hub_download(repo, f"{survey.study.name}/votes.jsonl", repo_type="dataset")
    except (EntryNotFoundError, RepositoryNotFoundError):
        return 0
    return survey.import_votes(Path(path).read_text(), "jsonl")
