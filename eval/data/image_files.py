"""The image files of a folder, of a zip file or of a dataset of the Hub, by name; each is read when it is used.

    DIR                              images in any format, also in subfolders
    FILE.zip                         the same in a zip file, which is not unpacked
    celeba-hq, celeba-hq-test, ffhq  downloaded once, at most the requested number of images; see gpen.training.data.hub
    hf:OWNER/NAME[:SPLIT[:COLUMN]]

Hidden files, the metadata that macOS adds to zip files, and files that are not images are ignored.
"""

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gpen.errors import GPENError
from gpen.file_names import by_same_stem, check_name, image_suffixes, is_image

MAX_MEMBERS = 1_000_000  # files in a zip file
MAX_MEMBER_BYTES = 256 * 2**20  # of one decompressed image in a zip file
NOT_RELATIVE = re.compile(r"/|[A-Za-z]:")  # start of an absolute path
UTF_8 = 0x800  # flag of a member whose name is declared as UTF-8


@dataclass(frozen=True)
class ZipMember:
    """An image in a zip file; it is decompressed to memory when it is read."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    path: str  # in the archive

    def __str__(self) -> str:
        return f"{self.archive.filename}/{self.path}"

    def read_bytes(self) -> bytes:
        """The content. Raises GPENError for a damaged or encrypted member."""
        try:
            return self.archive.read(self.info)  # never more than the size in the directory, which `_zip_members` has checked
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise GPENError(f"{self} cannot be read ({error}); download or create the zip file again.") from None


ImageFile = Path | ZipMember


def find_images(source: str | Path, option: str = "--data", limit: int | None = None) -> dict[str, ImageFile]:
    """The image files of a source by their path relative to it, sorted by this path.

    option: names the source in messages. limit: download at most this number of images of a dataset; folders and zip files are
    listed completely. Raises GPENError for a source that does not exist, for no images, for names with control characters, and
    for zip files with members that are too large or whose paths lead out of the archive.
    """
    path = local_path(source, limit)
    if path.is_dir():
        files: dict[str, ImageFile] = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    elif zipfile.is_zipfile(path):
        files = dict(_zip_members(path))
    else:
        raise GPENError(f"{option} {path} is not a folder; give a folder or a zip file with images of faces.")
    files = {name: file for name, file in files.items() if _is_visible_image(PurePosixPath(name))}
    if not files:
        raise GPENError(f"{path} contains no images; add files with the suffixes {', '.join(sorted(image_suffixes()))}.")
    for name in files:
        check_name(path / name)
    return dict(sorted(files.items()))


def by_name(files: Mapping[str, ImageFile]) -> dict[str, ImageFile]:
    """The files by their path without the suffix, sorted; with the suffix if two files differ only in it."""
    groups = by_same_stem(files).values()
    names = {path: str(PurePosixPath(path).with_suffix("")) if len(group) == 1 else path for group in groups for path in group}
    return {name: files[path] for name, path in sorted((name, path) for path, name in names.items())}


def local_path(source: str | Path, limit: int | None = None) -> Path:
    """The folder of a dataset of the Hub, downloaded if necessary; a path is returned unchanged.

    With a limit, only this number of images is streamed unless the complete dataset is in the cache.
    """
    if Path(source).exists():
        return Path(source)
    from gpen.models.download import cache_folder
    from gpen.training.data import hub

    dataset = hub.named(source)
    if dataset is None or limit is None or (cache_folder() / "datasets" / dataset.folder).is_dir():
        return hub.local_folder(source)
    return hub.local_folder(dataset.first(limit).name)


def describe(source: str | Path, limit: int | None = None) -> str:
    """The first `limit` images of a source, for the recipe of a run: its path, or the dataset with the split, rows and column."""
    from gpen.training.data import hub

    dataset = None if Path(source).exists() else hub.named(source)
    if dataset is None:
        return str(source)
    return (dataset.first(limit) if limit else dataset).describe()


def _is_visible_image(path: PurePosixPath) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and is_image(Path(path))


def _zip_members(path: Path) -> Iterator[tuple[str, ZipMember]]:
    """The images of a zip file by their path in it."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise GPENError(f"{path} cannot be read as a zip file ({error}); download or create it again.") from None
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise GPENError(f"{path} contains {len(members):,} files; give a zip file with at most {MAX_MEMBERS:,}.")
    for info in members:
        name = _member_name(info)
        if ".." in PurePosixPath(name).parts or NOT_RELATIVE.match(name) or "\\" in name:
            raise GPENError(f"{path} contains {name!r}, which is not a relative path with slashes; create the zip file again.")
        if info.is_dir() or not _is_visible_image(PurePosixPath(name)):
            continue
        if info.file_size > MAX_MEMBER_BYTES:
            raise GPENError(
                f"{path} contains {name}, which has {info.file_size / 2**20:,.0f} MiB; images in a zip file have at most "
                f"{MAX_MEMBER_BYTES // 2**20} MiB."
            )
        yield name, ZipMember(archive, info, name)


def _member_name(info: zipfile.ZipInfo) -> str:
    """The path of a member. macOS writes names in UTF-8 without declaring it, which the format reads as code page 437."""
    if info.flag_bits & UTF_8:
        return info.filename
    try:
        return info.filename.encode("cp437").decode()
    except UnicodeError:
        return info.filename
