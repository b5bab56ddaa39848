"""Images smaller than the size at which they are used are an error: enlarged, they are blurred ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from gpen.errors import GPENError

NAMED = 3  # images that an error names


def check_native_size(
    sides: Mapping[str, int],  # by name, px
    size: int,  # at which the images are used, px
    source: str | Path,
    allow_upscaled: bool,
) -> int:
    """The number of images that are enlarged. Raises GPENError for more than 0 unless `allow_upscaled` is set."""
    small = {name: side for name, side in sides.items() if side < size}
    if small and not allow_upscaled:
        named = ", ".join(f"{name} with {side} px" for name, side in list(small.items())[:NAMED])
        raise GPENError(
            f"{len(small):,} of {len(sides):,} images of {source} are smaller than {size} px ({named}); "
            "choose a smaller size, give images of the native size, or enlarge them with --allow-upscaled."
        )
    return len(small)
