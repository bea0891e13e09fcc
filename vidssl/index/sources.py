"""Lists the videos of a source: a folder, the WebDataset shards (tar files) in it, or a list of files."""

from __future__ import annotations

import csv
import logging
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from vidssl.files import parse_json, read_text, stat_regular
from vidssl.paths import leads_outside
from vidssl.types import VidsslError

EXTENSIONS = frozenset(
    {
        ".3gp",
        ".asf",
        ".avi",
        ".divx",
        ".flv",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mjpeg",
        ".mjpg",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
        ".y4m",
    }
)
LISTS = (".csv", ".txt")
# limit for a .json or .cls file in a shard, and for the header of a member
SIDECAR_BYTES = 2**20
_FARTHEST = 2**63 - 1  # the largest int64: a forged offset or size may exceed what the index can hold

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VideoFile:
    """One video of a source.

    Attributes:
        path: Path relative to the root and below it, with forward slashes. For a member of a tar: the path of the tar,
            then the name of the member.
        label: Class name, or None.
        group: Name of the group, or None.
        archive: For a member, the path of the tar.
        offset: For a member, its first byte in the tar.
        bytes: For a member, its length in bytes.
        refused: Why the video cannot be used, if that is already certain.
    """

    path: str
    label: str | None
    group: str | None = None
    archive: str | None = None
    offset: int | None = None
    bytes: int | None = None
    refused: str = ""

    @property
    def file(self) -> str:
        """The file to open."""
        return self.archive or self.path


def find_videos(source: Path) -> tuple[Path, list[VideoFile]]:
    """List the videos of a source.

    Args:
        source: A folder, or a list (.txt or .csv).

    Returns:
        The root that paths are relative to, and the videos ordered by path. The root of a list is its folder. If the
        list names videos elsewhere, the root is the deepest folder that holds all of its videos.

    Raises:
        VidsslError: The source does not exist, is of another kind, holds no video, or lists a video twice.
    """
    where = f"root={str(source)!r}:"
    if not source.exists():
        raise VidsslError(f"{where} no such folder; name a folder of videos, or a list of them ({', '.join(LISTS)})")
    if source.is_dir():
        root, found = source.resolve(), list(_in_folder(source.resolve()))
        rule = f"video files end in {' '.join(sorted(EXTENSIONS))}, shards in .tar"
    elif source.suffix in LISTS:
        rule = "the list is empty"
        root, found = _in_list(source)
    else:
        raise VidsslError(f"{where} not a folder; name a folder of videos, or a list of them ({', '.join(LISTS)})")
    if not found:
        raise VidsslError(f"{where} no video in it; {rule}")
    found.sort(key=lambda one: one.path)
    twice = next((a.path for a, b in pairwise(found) if a.path == b.path), None)
    if twice is not None:
        raise VidsslError(f"{where} {twice} is listed twice; remove one of the entries")
    return root, found


def _in_folder(root: Path) -> Iterator[VideoFile]:
    """The videos of a folder. Links to folders are followed once; hidden folders are skipped."""
    seen = set()
    for base, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(base)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in files:
            path = Path(base, name)
            if path.suffix.lower() in EXTENSIONS:
                yield VideoFile(
                    path=path.relative_to(root).as_posix(), label=path.parent.name if path.parent != root else None
                )
            elif path.suffix.lower() == ".tar":
                yield from _in_tar(path, path.relative_to(root).as_posix())


def _open_tar(file: Any) -> tarfile.TarFile:
    """Open an uncompressed tar from a file object. The stubs of tarfile accept fewer kinds than tarfile does."""
    return tarfile.open(fileobj=file, mode="r:")


def _in_tar(path: Path, name: str) -> Iterator[VideoFile]:
    """The members of a tar that are videos.

    The label is the content of the sample's `.cls` file, or "label" in its `.json` file, or the member's folder.
    If the tar cannot be read to its end, the tar itself is listed too, after which the scan reports the reason.
    Source: WebDataset's convention that files of one sample share the name up to the first dot of its last part.
    """
    labels: dict[str, str] = {}
    videos: list[tarfile.TarInfo] = []
    try:
        size = stat_regular(path).st_size
        with path.open("rb") as file, _open_tar(_Bounded(file)) as tar:
            for member in _forwards(tar):
                kind = PurePosixPath(member.name).suffix.lower()
                if not member.isfile():
                    continue
                if kind in EXTENSIONS:
                    videos.append(member)
                elif kind in (".cls", ".json") and member.offset_data + member.size <= size:
                    label = _label_of(tar, member, f"{name}/{member.name}")
                    if label is not None:
                        labels[_sample(member.name)] = label
    # tarfile does not check headers: a damaged one raises any error, such as IndexError or RecursionError
    except Exception:
        yield VideoFile(path=name, label=None)  # the scan reports what is wrong with it
    for member in videos:
        folder = PurePosixPath(member.name).parent.name or None
        yield VideoFile(
            path=_text(f"{name}/{member.name}"),
            label=labels.get(_sample(member.name), folder and _text(folder)),
            archive=name,
            offset=min(member.offset_data, _FARTHEST),
            bytes=min(member.size, _FARTHEST),
            refused="a sparse member of a tar, whose bytes are not contiguous; pack it without --sparse"
            if member.issparse()
            else "",
        )


class _Bounded:
    """A file for tarfile that refuses large reads; tarfile would allocate as much memory as a header asks for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= SIDECAR_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes; the limit is {SIDECAR_BYTES}")
        return self._file.read(size)


def _forwards(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members, each after the previous one.

    A negative size would lead back to an earlier member and loop forever.
    """
    last = -1
    for member in tar:
        if member.offset <= last or member.size < 0:
            raise tarfile.ReadError(f"the header at byte {member.offset} leads backwards")
        last = member.offset
        yield member


def _label_of(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> str | None:
    """The label in a sidecar; None if it has none or is too long to be read."""
    if member.size > SIDECAR_BYTES:
        log.warning("%s: %d bytes exceed the limit of %d; its label is ignored", name, member.size, SIDECAR_BYTES)
        return None
    file = tar.extractfile(member)
    return None if file is None else _label_in(file.read(), PurePosixPath(member.name).suffix.lower())


def _text(name: str) -> str:
    """A name as valid UTF-8: invalid bytes become question marks."""
    return name.encode(errors="replace").decode()


def _sample(name: str) -> str:
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"


def _label_in(data: bytes, kind: str) -> str | None:
    if kind == ".cls":
        return data.decode(errors="replace").strip() or None
    try:
        content = parse_json(data)
    except ValueError:
        return None
    label = content.get("label") if isinstance(content, dict) else None
    return None if label is None else _text(str(label))


def _in_list(source: Path) -> tuple[Path, list[VideoFile]]:
    """The root and the videos of a list.

    A .txt file has one path per line. A .csv file has the column path, and optionally label and group.
    """
    try:
        text = read_text(source, "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise VidsslError(f"root={str(source)!r}: cannot be read as text ({error})") from error
    if source.suffix == ".txt":
        rows = [{"path": line.strip()} for line in text.splitlines() if line.strip()]
    else:
        reader = csv.DictReader(text.splitlines())
        columns = reader.fieldnames or []
        if "path" not in columns:
            raise VidsslError(
                f"root={str(source)!r}: its first line is {','.join(columns)!r}; "
                "start it with the columns path[,label[,group]]"
            )
        rows = list(reader)
    root = source.resolve().parent
    paths = _resolve_names([Path(row["path"]) for row in rows], root)
    if any(not path.is_relative_to(root) for path in paths):
        root = Path(os.path.commonpath({path.parent for path in paths}))
    found = []
    for row, path in zip(rows, paths, strict=True):
        label = row.get("label") or None if "label" in row else (Path(row["path"]).parent.name or None)
        found.append(VideoFile(path=path.relative_to(root).as_posix(), label=label, group=row.get("group") or None))
    return root, found


def _resolve_names(names: Sequence[Path], folder: Path) -> list[Path]:
    """The paths of the files that a list in `folder` names.

    If a name is absolute or contains "..", links to folders are resolved first, as the system does before it goes up. A
    name that stays below the folder is kept as written.
    """
    real: dict[Path, Path] = {}
    paths = []
    for name in names:
        path = folder / name
        if leads_outside(str(name)):
            if path.parent not in real:
                real[path.parent] = path.parent.resolve()
            path = real[path.parent] / path.name
        paths.append(path)
    return paths
