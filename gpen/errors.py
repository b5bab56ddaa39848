"""The one exception that stands for a mistake a user can make and mend, and how a command line says it."""

import sys
from collections.abc import Callable


class GPENError(ValueError):
    """Its message is one sentence, what was wrong and what to do, that command lines and pages show as it is."""


def exit_status(command: Callable[[], int | None]) -> int:
    """Run a command line's work: its own status, or 2 after a user's mistake or a file that the system refuses, said in one
    sentence on standard error, or 130 where it was interrupted."""
    try:
        return command() or 0
    except (GPENError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
