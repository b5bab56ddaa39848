"""Items that are made on demand, such as those of the live arena: the name of an item contains its face and its degradation.

    arena/astronaut?blur_sigma=2.5&scale=3.0&seed=7      a sample face
    arena/own?blur_sigma=2.5&scale=3.0&seed=7            an image of the visitor, of which nothing else is known

The name has all parameters that differ from the default, so that the store, the exports and the copies need no other place for
them.
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

from gpen.degradation.degradation import Degradation

OWN = "own"  # the face of an item that shows an image of the visitor
_NAME = re.compile(r"arena/([^?/]+)\?(.*)")
_OFF = Degradation().to_dict()


def item_name(face: str, degradation: Degradation) -> str:
    """The name of an item."""
    values = degradation.to_dict()
    named = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value != _OFF[name] or name == "seed"
    }
    return f"arena/{face}?{urlencode(named)}"


def degradation_of(item: str) -> dict | None:
    """The parameters in the name of an item, as Degradation.to_dict; None for another name."""
    match = _NAME.fullmatch(item)
    return _OFF | {name: _value(value) for name, value in parse_qsl(match[2]) if name in _OFF} if match else None


def known_degradation(item: str, of_study: Mapping[str, dict] | None) -> dict | None:
    """The parameters of an item, as Degradation.to_dict: those that its study states, else those in its name; None: unknown."""
    return (of_study or {}).get(item) or degradation_of(item)


def sample_face_of(item: str) -> str | None:
    """The sample face in the name of an item; None for another name, and for images of visitors, each of which is a face."""
    match = _NAME.fullmatch(item)
    return match[1] if match and match[1] != OWN else None


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
