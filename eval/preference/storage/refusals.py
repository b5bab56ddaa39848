"""Errors of the vote store that the page or a command handles; status is that of the HTTP response."""

from eval.preference.storage.location import Location
from gpen.errors import GPENError


class ConsentNeededError(GPENError):
    """The rater has not agreed to the current consent text: the page keeps its answers and asks."""

    status = 428

    def __init__(self) -> None:
        super().__init__("Your consent to the current text is not stored; read it again and agree to continue.")


class DeletedError(GPENError):
    """The votes of the rater were deleted, and no further ones are stored."""

    status = 410

    def __init__(self) -> None:
        super().__init__("Your answers were deleted and no new ones are stored under this code; reload the page to start again.")


class NoStoreError(GPENError):
    """There is no store of votes to read."""

    def __init__(self, location: Location):
        super().__init__(f"There is no store of votes in {location}; name that of the page with --votes, or set GPEN_VOTES.")
