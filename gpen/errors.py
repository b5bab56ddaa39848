"""The one exception that stands for a mistake a user can make and mend."""


class GPENError(ValueError):
    """Its message is one sentence, what was wrong and what to do, that command lines and pages show as it is."""
