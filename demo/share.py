"""The playground's settings as a link: ?blur_sigma=4.0&scale=8.0, the fields of gpen.Degradation that are not off.

The picture is no part of it: who opens the link sees the settings on a sample, or puts in a face of their own.
"""

from __future__ import annotations

import json
from dataclasses import fields
from urllib.parse import parse_qsl, urlencode

from demo import experiment
from gpen.degradation import Degradation

LONGEST = 2000  # characters of a query: what every browser takes
COPY = """query => {
  const link = location.origin + location.pathname + query;
  history.replaceState(null, "", link);
  navigator.clipboard?.writeText(link).catch(() => {});
}"""
_OFF = Degradation().to_dict()


def query(degradation: Degradation) -> str:
    """ "?name=value&..." of what is not off; degradation(query(d)) == d."""
    named = {name: value for name, value in degradation.to_dict().items() if value != _OFF[name]}
    named = named or {"seed": 0}  # a link to a face as it is says so, or it would open the page's own beginning
    return "?" + urlencode({name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()})


def degradation(text: str) -> Degradation | None:
    """The settings in a page's query; None where there are none. What is not one of theirs is not looked at.

    Raises GPENError for a value that the degradation refuses.
    """
    names = {field.name for field in fields(Degradation)}
    named = {name: _value(value) for name, value in parse_qsl(text.lstrip("?")[:LONGEST]) if name in names}
    if not named:
        return None
    found = Degradation.from_dict(named)
    experiment.check(found)
    return found


def _value(text: str):
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
