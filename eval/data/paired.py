"""Given pairs: low-quality images and their ground truth from two sources, matched by the names of their files.

Names are compared in one Unicode form, with plain spaces, and without the suffix; the last part of the path decides, or the
complete path where a source contains a name twice. The pattern `match` is the name of an input with {name} for that
of its ground truth: "{name}_00" for 0001_00.png and 0001.png.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from eval.data.faces import Faces, check_selection
from eval.data.image_files import ImageFile, describe, find_images
from gpen.errors import GPENError
from gpen.file_names import by_same_stem, same_name, without_suffix
from gpen.images import image_size

NAME = "{name}"
NAMED = 3  # images that an error names


@dataclass(frozen=True)
class Pairs:
    """Ground truth and inputs."""

    faces: Faces  # the ground truth
    inputs: dict[str, ImageFile]  # by the names of the faces

    @classmethod
    def open(
        cls,
        lq: str | Path,
        gt: str | Path,
        match: str = NAME,
        size: int | None = None,  # of the ground truth, px; None: its native size
        limit: int | None = None,  # the first pairs by name
        *,
        allow_upscaled: bool = False,
    ) -> "Pairs":
        """Match the files of two sources of eval.data.image_files.

        Raises GPENError that names the files of both sides without a partner, files of the same name, images that are not square,
        and a ground truth of several sizes if no size is given.
        """
        check_selection(size or 256, limit)
        if match.count(NAME) != 1 or "/" in match or "{" in match.replace(NAME, ""):
            raise GPENError(f'--match {match} is not a pattern of names; write {NAME} once, as in "{NAME}_00".')
        if str(lq) == str(gt):
            raise GPENError(
                f"--lq and --gt are both {lq}; give two folders, zip files, or columns as hf:OWNER/NAME:SPLIT:COLUMN."
            )
        inputs, truths = find_images(lq, "--lq", limit), find_images(gt, "--gt", limit)
        pairs, problems = _match(inputs, truths, match)
        if problems:
            raise GPENError(
                f"The images of --lq {lq} ({len(inputs):,}) and --gt {gt} ({len(truths):,}) do not match: {'; '.join(problems)}; "
                "rename or remove these files, or give the pattern of the names in --lq with --match."
            )
        pairs = dict(sorted(pairs.items())[:limit])
        files = {name: truth for name, (_, truth) in pairs.items()}
        given = {name: lq_file for name, (lq_file, _) in pairs.items()}
        truth_sides, _ = _sides("--gt", files.values()), _sides("--lq", given.values())
        size = size or _common_size(gt, truth_sides)
        check_selection(size, limit)
        description = f"{describe(gt, limit)}; inputs: {describe(lq, limit)}, {match}"
        return cls(Faces(Path(gt), size, files, {}, allow_upscaled, description), given)


def _match(
    inputs: Mapping[str, ImageFile], truths: Mapping[str, ImageFile], match: str
) -> tuple[dict[str, tuple[ImageFile, ImageFile]], list[str]]:
    """(input, ground truth) by name, and what prevents a match, in words."""
    complete = any(_is_ambiguous(group) for files in (inputs, truths) for group in _groups(files, False).values())
    lq_groups, gt_groups = _groups(inputs, complete), _groups(truths, complete)
    expected = {key: _input_name(key, match) for key in gt_groups}
    problems = [
        f"{path_a} and {path_b} of {side} have the same name"
        for side, groups in (("--lq", lq_groups), ("--gt", gt_groups))
        for path_a, path_b, *_ in [group for group in groups.values() if len(group) > 1][:1]
    ]
    problems += _listed("of --gt without an input", [gt_groups[key][0] for key in gt_groups if expected[key] not in lq_groups])
    alone = lq_groups.keys() - expected.values()
    problems += _listed("of --lq without a ground truth", [group[0] for key, group in lq_groups.items() if key in alone])
    if problems:
        return {}, problems
    names = {key: without_suffix(group[0] if complete else PurePosixPath(group[0]).name) for key, group in gt_groups.items()}
    return {name: (inputs[lq_groups[expected[key]][0]], truths[gt_groups[key][0]]) for key, name in names.items()}, problems


def _groups(paths: Iterable[str], complete: bool) -> dict[str, list[str]]:
    """The paths by the form in which they are compared: the complete path or its last part, without the suffix."""
    if complete:
        return by_same_stem(paths)
    groups: dict[str, list[str]] = {}
    for stem, group in by_same_stem(paths).items():
        groups.setdefault(PurePosixPath(stem).name, []).extend(group)
    return groups


def _is_ambiguous(group: list[str]) -> bool:
    """Whether paths with the same last part are in several folders."""
    return len({PurePosixPath(path).parent for path in group}) > 1


def _input_name(key: str, match: str) -> str:
    """The form of the path of an input in which it is compared, from that of its ground truth."""
    path = PurePosixPath(key)
    return same_name(str(path.with_name(without_suffix(match).replace(NAME, path.name))))


def _listed(what: str, paths: list[str]) -> Iterator[str]:
    """A phrase with the number of paths and the first of them; nothing for none."""
    if paths:
        more = ", ..." if len(paths) > NAMED else ""
        yield f"{len(paths):,} {what} ({', '.join(paths[:NAMED])}{more})"


def _sides(option: str, files: Iterable[ImageFile]) -> list[int]:
    """The sides of square images in px, from their headers. Raises GPENError that names the images that are not square."""
    sizes = {str(file): image_size(file) for file in files}
    if wide := [f"{name} with {w} x {h} px" for name, (w, h) in sizes.items() if w != h]:
        (phrase,) = _listed(f"of {len(sizes):,} images of {option} are not square", wide)
        raise GPENError(f"{phrase}; crop them and their partners in the same way.")
    return [w for w, _ in sizes.values()]


def _common_size(gt: str | Path, sides: list[int]) -> int:
    counts = Counter(sides).most_common()
    if len(counts) > 1:
        listed = ", ".join(f"{count:,} with {side} px" for side, count in counts[:NAMED])
        raise GPENError(f"The images of --gt {gt} have several sizes ({listed}); choose one with --size.")
    return counts[0][0]
