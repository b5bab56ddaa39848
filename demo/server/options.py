"""Options of `python app.py` and the environment variables of the page; docs/deployment.md has the same table."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Annotated, Any

from eval.options import option
from gpen.cli.parsing import EngineName, parse
from gpen.engines.registry import ENGINES
from gpen.errors import GPENError

LOGIN_VARIABLE = "GPEN_LOGIN"


@dataclass(frozen=True)
class Variable:
    """An environment variable of the page."""

    name: str
    meaning: str  # one line of Markdown
    default: str  # in words


VARIABLES = (
    Variable("GRADIO_SERVER_NAME", "address to listen on", "`127.0.0.1`; `0.0.0.0` on a Space"),
    Variable("GRADIO_SERVER_PORT", "port to listen on", "`7860`"),
    Variable("GRADIO_ROOT_PATH", "path of the page behind a proxy, such as `/gpen`", "`/`"),
    Variable("GRADIO_TEMP_DIR", "folder for a folder of uploaded images and results, emptied by age", "that of the system"),
    Variable("GPEN_TEMP_QUOTA_MB", "most that uploaded images and results may take, in MB", "`4096`"),
    Variable("GPEN_TRUSTED_PROXIES", "proxies in front of the server that append to `X-Forwarded-For`", "`0`; `1` on a Space"),
    Variable("GPEN_FRAME_ANCESTORS", "further sites that may embed the page, such as `https://school.example`", "none"),
    Variable("GPEN_CONTACT", "address that the page names for questions and deletions", "none; the Space's discussions"),
    Variable("GPEN_MODEL", "model name or path of a model file", "the default model"),
    Variable("GPEN_MODELS", "folders that are searched for model files", "none"),
    Variable(
        "GPEN_BACKGROUND",
        "super-resolution model (spandrel) that enlarges the background of photos",
        "a file `*esrgan*` or `*esrnet*` in `GPEN_MODELS`",
    ),
    Variable("GPEN_DOWNLOAD_URL", "mirror for published models; empty disables downloads", "the server of the authors"),
    Variable("GPEN_ENGINE", f"engine that runs the model: {', '.join(f'`{name}`' for name in ENGINES)}", "`torch`"),
    Variable("GPEN_STUDY", "folder of the study in the Rate tab", "`assets/study`"),
    Variable("DATABASE_URL", "database address or SQLite file for the answers", "`GPEN_VOTES`"),
    Variable("GPEN_VOTES", "the same, if `DATABASE_URL` is not set", "`runs/votes.sqlite`"),
    Variable(
        "GPEN_VOTES_REPO",
        "private dataset on the Hub (`OWNER/NAME`) or mounted folder (absolute path) to which the answers are copied",
        "none",
    ),
    Variable("HF_TOKEN", "token of the Hub with write access to this dataset", "that of `hf auth login`"),
    Variable(LOGIN_VARIABLE, "`1`: raters log in with an account of Hugging Face", "no account is needed"),
    Variable("GPEN_OWNER_TOKEN", "token of the owner page of the study; without it the page is disabled", "none"),
    Variable("GPEN_PUBLIC_LEADERBOARD", "`1` shows the results of the study to all visitors in the Leaderboard tab", "not shown"),
    Variable(
        "GPEN_ARENA", "`1` adds the Arena tab, where visitors compare methods, and its board to the Leaderboard tab", "no tab"
    ),
    Variable("GPEN_IDENTITY_MODEL", "face embedding in ONNX for the identity metric", "none"),
    Variable("GPEN_SQUEEZENET", "weights of SqueezeNet 1.1 for LPIPS, `.npz`", "the cache of torch.hub"),
)


def _variable(name: str) -> Any:
    return field(default_factory=lambda: os.environ.get(name) or None, metadata={"variable": name})


@dataclass(frozen=True)
class Options:
    """Options; each sets its environment variable."""

    host: Annotated[str | None, option("ADDRESS", "$GRADIO_SERVER_NAME, else 127.0.0.1")] = _variable("GRADIO_SERVER_NAME")
    """address to listen on"""
    port: Annotated[str | None, option("PORT", "$GRADIO_SERVER_PORT, else 7860")] = _variable("GRADIO_SERVER_PORT")
    """port to listen on"""
    model: Annotated[str | None, option("MODEL", "$GPEN_MODEL, else the default model")] = _variable("GPEN_MODEL")
    """model name or path of a model file"""
    models: Annotated[str | None, option("DIR", "$GPEN_MODELS")] = _variable("GPEN_MODELS")
    """folders that are searched for model files"""
    engine: Annotated[EngineName | None, option("ENGINE", "$GPEN_ENGINE, else torch")] = _variable("GPEN_ENGINE")
    """engine that runs the model, see GPEN_ENGINE above"""
    study: Annotated[str | None, option("DIR", "$GPEN_STUDY, else assets/study")] = _variable("GPEN_STUDY")
    """folder of the study in the Rate tab"""
    votes: Annotated[str | None, option("FILE|URL", "$DATABASE_URL, else $GPEN_VOTES")] = _variable("DATABASE_URL")
    """SQLite file or database address for the answers"""
    votes_repo: Annotated[str | None, option("OWNER/NAME", "$GPEN_VOTES_REPO")] = _variable("GPEN_VOTES_REPO")
    """private dataset on the Hub to which the answers are copied"""

    def set_environment(self) -> None:
        """Set the environment variables of the options, which all parts of the page read."""
        for entry in fields(self):
            if (value := getattr(self, entry.name)) is not None:
                os.environ[entry.metadata["variable"]] = value


def read(arguments: list[str] | None) -> Options:
    """Parse the command line. Prints a usage error and exits with status 2."""
    return parse(Options, arguments, "python app.py", description=f"Serve the page until interrupted.\n\n{overview()}")


def overview() -> str:
    """Return the environment variables as text, one a line."""
    width = max(len(variable.name) for variable in VARIABLES)
    lines = [f"  {variable.name:{width}}  {variable.meaning} (default: {variable.default})" for variable in VARIABLES]
    return "\n".join(["Environment variables:", *lines]).replace("`", "")


def needs_login() -> bool:
    """Return whether raters need an account of Hugging Face."""
    return os.environ.get(LOGIN_VARIABLE) == "1"


def server_address() -> tuple[str, int]:
    """Return host and port: the local host by default, all addresses on a Space. Raises GPENError for an invalid port."""
    host = os.environ.get("GRADIO_SERVER_NAME") or ("0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1")
    port = os.environ.get("GRADIO_SERVER_PORT") or "7860"
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise GPENError(f"The port {port!r} is invalid: set --port or GRADIO_SERVER_PORT to a number from 1 to 65535.")
    return host, int(port)
