"""Settings of the playground as a link, such as ?model=GPEN-BFR-512&blur_sigma=4.0&scale=8.0.

The query contains the name of the model, unless it is the default one, and the enabled fields of gpen.Degradation.

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
COPY_LINK_JS = """async query => {
  const link = location.origin + location.pathname + query;
  history.replaceState(history.state, "", link);
  const button = document.querySelector("#copy-link");
  let said = gpen.text("playground.first.link_copied");
  try {
    await navigator.clipboard.writeText(link);
  } catch { // no permission, or the page is not served over https
    said = gpen.text("playground.first.link_in_address");
  }
  document.querySelector("#copied").textContent = said;
  button.dataset.said = said;
  clearTimeout(button.timer);
  button.timer = setTimeout(() => { delete button.dataset.said; document.querySelector("#copied").textContent = ""; }, 3000);
}"""
_OFF = Degradation().to_dict()


def to_query(degradation: Degradation, model: str = "") -> str:
    """Return the query "?model=NAME&name=value&..." of the enabled fields; `from_query` and `model_name` are the inverse.

    model: name of the model, "" for the default one.
    """
    named = {name: value for name, value in degradation.to_dict().items() if value != _OFF[name]}
    named = named or {"seed": 0}  # an empty query would open the initial settings of the page
    chosen = {"model": model} if model else {}
    return "?" + urlencode(
        chosen | {name: value if isinstance(value, str) else json.dumps(value) for name, value in named.items()}
    )


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


def model_name(text: str) -> str:
    """Return the name of the model in the query of the page, or ""."""
    return dict(parse_qsl(text.lstrip("?")[:MAX_QUERY_LENGTH])).get("model", "")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
