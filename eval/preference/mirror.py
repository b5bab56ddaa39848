"""On a Space, whose disk is emptied by a restart: the votes in a private dataset on the Hub.

Every few minutes the votes that stand are written as STUDY/votes.jsonl and committed, and the dataset's history is
squashed: what a rater took back or deleted is gone there too. A Space that starts with an empty store reads them
back. What was answered since the last commit is lost with the disk: give DATABASE_URL where that is too much.
"""

from pathlib import Path

from eval.files import write_atomically
from eval.preference.survey import Survey
from gpen.errors import GPENError

MINUTES = 5


def mirror(survey: Survey, repo: str, folder: str | Path):
    """Start mirroring to the dataset `repo` ("user/name", made private if it is new); `folder` is a scratch folder.

    Returns the huggingface_hub.CommitScheduler. The token is the Hub's own (HF_TOKEN). Raises GPENError where the
    dataset cannot be reached.
    """
    from huggingface_hub import CommitScheduler
    from huggingface_hub.errors import HfHubHTTPError

    file = Path(folder) / survey.study.name / "votes.jsonl"

    class Mirror(CommitScheduler):
        """Writes the votes anew before each commit."""

        def push_to_hub(self):
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
        raise GPENError(f"the dataset {repo} cannot be reached; check the name and HF_TOKEN, or mirror nothing") from error


def restore(survey: Survey, repo: str) -> int:
    """Import what the dataset holds of this study; how many votes were new. 0 where it holds none yet."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        path = hf_hub_download(repo, f"{survey.study.name}/votes.jsonl", repo_type="dataset")
    except (EntryNotFoundError, RepositoryNotFoundError):
        return 0
    return survey.import_votes(Path(path).read_text(), "jsonl")
