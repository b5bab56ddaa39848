"""Settings of the playground as a link, such as ?blur_sigma=4.0&scale=8.0.

The query contains the enabled fields of gpen.Degradation.

The link does not contain the image: it opens with a sample face.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any
from urllib.parse import parse_qsl, urlencode

from demo import experiment
from gpen.degradation.degradation import Degradation

MAX_QUERY_LENGTH = 2000  # characters of a query, supported by all browsers
COPY_LINK_JS = """query => {
  const link = location.origin + location.pathname + query;
  history.replaceState(null, "", link);
  navigator.clipboard?.writeText(link).catch(() => {});
}"""
_OFF = Degradation().to_dict()


def to_query(degradation: Degradation) -> str:
    """Return the query "?name=value&..." of the enabled fields; `from_query` is the inverse."""
    named = {name: value for name, value in degradation.to_dict().items() if value != _OFF[name]}
    named = named or {"seed": 0}  # an empty query would open the initial settings of the page
    return "?" + urlencode({name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()})


def from_query(text: str) -> Degradation | None:
    """Parse the settings in the query of the page; None if there are none. Unknown names are ignored.

    Raises GPENError for invalid values.
    """
    names = {field.name for field in fields(Degradation)}
    named = {name: _value(value) for name, value in parse_qsl(text.lstrip("?")[:MAX_QUERY_LENGTH]) if name in names}
    if not named:
        return None
    found = Degradation.from_dict(named)
    experiment.check_scale(found)
    return found


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
