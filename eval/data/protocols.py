"""Published test sets: what they consist of, where users get them, and how they are measured; eval/data/protocols/NAME.toml.

The files describe the images and hold none. `verify` compares a folder with a description.
"""

import functools
import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from eval.data.image_files import ImageFile, find_images
from gpen.errors import GPENError
from gpen.file_names import same_name, without_suffix
from gpen.images import image_size, read_bytes

FOLDER = Path(__file__).with_name("protocols")
NAMED = 3  # files that a message names
CONTENT = {
    "pairs": "low-quality images and ground truth",
    "inputs": "low-quality images without ground truth",
    "faces": "sharp faces",
}
COMMANDS = {
    "pairs": "run paired --lq DIR --gt DIR",
    "inputs": "run wild --data DIR",
    "faces": "run bfr --data DIR",
}


@dataclass(frozen=True)
class Protocol:
    """A published test set."""

    name: str
    title: str
    images: list[int]  # number of images; several if publications differ
    size: int  # side of the images, of pairs that of the ground truth, px
    content: Literal["pairs", "inputs", "faces"]
    sources: list[str]
    licence: str
    metrics: list[str]  # of this project that publications report
    conventions: list[str]  # sentences
    names: str = ""  # regular expression of the file names without the suffix, where it is known
    sha256: dict[str, str] = field(default_factory=dict)  # by file name, where the hashes are known

    def __str__(self) -> str:
        count = " or ".join(f"{count:,}" for count in self.images)
        options = f"--size {self.size} --metrics {','.join(self.metrics)} --out RUN"
        lines = [
            f"{self.name}: {self.title}, {count} images of {self.size} px, {CONTENT[self.content]}",
            *(f"  from       {source}" for source in self.sources),
            f"  licence    {self.licence}",
            f"  command    python -m eval {COMMANDS[self.content]} {options}",
            f"  hashes     {f'of {len(self.sha256):,} files' if self.sha256 else 'not known'}",
            *(f"  {sentence}" for sentence in self.conventions),
        ]
        return "\n".join(lines)

    def problems(self, files: Mapping[str, ImageFile]) -> list[str]:
        """How the files of a folder, by their path, differ from the protocol, in phrases; empty if they do not."""
        found = [] if len(files) in self.images else [f"{len(files):,} images, not {' or '.join(f'{n:,}' for n in self.images)}"]
        sizes = Counter(image_size(file) for file in files.values())
        if other := [size for size in sizes if size != (self.size, self.size)]:
            w, h = other[0]
            found.append(f"{sum(sizes[size] for size in other):,} images not of {self.size} px, such as {w} x {h}")
        by_name = {same_name(PurePosixPath(path).name): file for path, file in files.items()}
        if self.names:
            odd = [name for name in by_name if not re.fullmatch(self.names, without_suffix(name))]
            found += [f"{len(odd):,} unknown names, such as {', '.join(odd[:NAMED])}"] if odd else []
        hashes = {name: self.sha256[name] for name in by_name if name in self.sha256}
        changed = [name for name, known in hashes.items() if hashlib.sha256(read_bytes(by_name[name])).hexdigest() != known]
        found += [f"{len(changed):,} files with another content, such as {', '.join(changed[:NAMED])}"] if changed else []
        return found

    def check_run(self, count: int, size: int, tasks: Sequence[str]) -> None:
        """Check the number and the size of the images of a run, and its tasks.

        Raises GPENError if the run does not have this protocol.
        """
        if self.content == "pairs" and tuple(tasks) != ("paired",):
            raise GPENError(f"The protocol {self.name} has given inputs; run it with: python -m eval {COMMANDS[self.content]}.")
        if count not in self.images or size != self.size:
            expected = " or ".join(f"{n:,}" for n in self.images)
            raise GPENError(
                f"The run has {count:,} images and --size {size}, the protocol {self.name} {expected} images of {self.size} px; "
                "correct them or remove --protocol."
            )


@functools.cache
def protocols() -> dict[str, Protocol]:
    """All protocols by name."""
    return {path.stem: Protocol(path.stem, **tomllib.loads(path.read_text())) for path in sorted(FOLDER.glob("*.toml"))}


def find_protocol(name: str) -> Protocol:
    """The protocol of a name. Raises GPENError for an unknown one."""
    if name not in protocols():
        raise GPENError(f"Unknown protocol {name!r}; choose from {', '.join(protocols())}.")
    return protocols()[name]


def verify(source: str, name: str | None = None) -> str:
    """Compare the images of a folder, zip file or dataset with a protocol, or with all: sentences on what agrees.

    Raises GPENError if they differ, or agree with no protocol.
    """
    files = find_images(source, "DIR")
    candidates = [find_protocol(name)] if name else list(protocols().values())
    problems = {protocol.name: protocol.problems(files) for protocol in candidates}
    if name and problems[name]:
        raise GPENError(f"{source} is not {candidates[0].title}: it has {'; '.join(problems[name])}; download it again.")
    if not (agreeing := [protocol for protocol in candidates if not problems[protocol.name]]):
        raise GPENError(
            f"{source} with {len(files):,} images agrees with no protocol ({', '.join(protocols())}); name one with --name."
        )
    return "\n".join(_agreement(source, protocol, len(files)) for protocol in agreeing)


def _agreement(source: str, protocol: Protocol, count: int) -> str:
    names = ", names" if protocol.names else ""
    content = (
        f"the hashes of {len(protocol.sha256):,} files agree"
        if protocol.sha256
        else "no hashes of this set are known, so the content of the files is not verified"
    )
    return f"{source} agrees with {protocol.title}: {count:,} images, {protocol.size} px{names}; {content}."
