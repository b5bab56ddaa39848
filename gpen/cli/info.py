"""python -m gpen info: print the file, settings, size, budget and licence of a model. Nothing is downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from tyro.conf import Positional, arg

from gpen.cli.parsing import parse
from gpen.errors import GPENError
from gpen.models import checkpoints, download, licences, modelscope
from gpen.models.network import GPEN
from gpen.training.data.fingerprints import CHOSEN_ON, TRAINED_ON, split_fingerprints


@dataclass(frozen=True)
class Info:
    """Print the file, settings, size, budget and licence of a model."""

    # name or file of a GPEN, a prior or a discriminator; None: the default model
    model: Annotated[Positional[str | None], arg(metavar="MODEL")] = None

    def run(self) -> None:
        """Print the lines."""
        model = modelscope.NAMES.get(self.model or "", self.model)
        if model in checkpoints.PUBLISHED_MODELS and checkpoints.is_name(model) and not checkpoints.local_model(model):
            print(_source(model))
            _print({"licence": licences.PUBLISHED})
            return
        path = checkpoints.find(model)
        net, metadata = checkpoints.inspect(path)
        print(path)
        if isinstance(net, GPEN):
            _print({"alignment": net.alignment})
        _print({**vars(net.config), "parameters": f"{sum(p.numel() for p in net.parameters()):,}"})
        _print({"file size": f"{path.stat().st_size / 1e6:.1f} MB"})
        if "images_seen" in metadata:
            _print({"images_seen": f"{int(metadata['images_seen']):,}"})
        for key in (TRAINED_ON, CHOSEN_ON):
            if known := split_fingerprints(metadata.get(key, "")):
                _print({key: f"{len(known):,} images, of which the file has fingerprints"})
        _print({"licence": checkpoints.licence(path, metadata)})
        if path.parent.resolve() == checkpoints.ASSETS.resolve():
            _print({"model card": checkpoints.ASSETS / "MODEL_CARD.md"})


def _source(name: str) -> str:
    """Where a published model that is not on this machine would come from."""
    try:
        url = checkpoints.download_url(name)
    except GPENError as error:
        return str(error)
    return f"{name} is not on this machine: gpen.load({name!r}) would download {url} to {download.cache_folder()}."


def _print(values: dict[str, object]) -> None:
    for name, value in values.items():
        print(f"{name:20} {value}")


def main(args: list[str]) -> None:
    """Run `gpen info` with these arguments."""
    parse(Info, args, "gpen info").run()
