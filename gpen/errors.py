"""The exception raised for user errors, and the exit status that a command line returns for it."""

import sys
from collections.abc import Callable


class GPENError(ValueError):
    """Raised for invalid input, files or settings. The message states the problem and what to do; it is shown to users as is."""


def exit_status(command: Callable[[], int | None]) -> int:
    """Run `command` and return the exit status of the process.

    The status is that of `command`, 2 after a GPENError or OSError (its message is printed to standard error), 130 after an
    interrupt.
    """
    try:
        return command() or 0
    except (GPENError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
