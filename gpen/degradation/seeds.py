"""Seeds of the images of a set."""

import hashlib


def image_seed(seed: int, name: str) -> int:
    """Seed of one image of a set, 0 to 2**48 - 1, from the seed of the set and the name of the image; the order has no effect."""
    return int(hashlib.sha256(f"{seed}/{name}".encode()).hexdigest()[:12], 16)
