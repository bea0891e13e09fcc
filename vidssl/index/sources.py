"""Lists the videos of a source: a folder, the WebDataset shards (tar files) in it, or a list of files."""

from __future__ import annotations

import logging
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, NamedTuple

from vidssl.files import parse_json, stat_regular
from vidssl.index.kinds import EXTENSIONS
from vidssl.index.lists import LISTS, ListEntry, clean_label, is_list, read_list, refuse
from vidssl.paths import leads_outside
from vidssl.types import VidsslError

# limit for a .json or .cls file in a shard, and for the header of a member
SIDECAR_BYTES = 2**20
_SHOWN = 10  # notes about single lines of a list
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


class Found(NamedTuple):
    """The videos of a source.

    Attributes:
        root: The folder that paths are relative to.
        videos: The videos ordered by path.
        notes: What is worth knowing about the source, such as a line of a list that names a video again.
    """

    root: Path
    videos: list[VideoFile]
    notes: list[str]


def find_videos(source: Path) -> Found:
    """List the videos of a source.

    Args:
        source: A folder, a list in one of the layouts of vidssl.index.lists, or a shard (.tar).

    Returns:
        The root, the videos and notes. The root of a list or shard is its folder. If a list names videos elsewhere, the
        root is the deepest folder that holds all of its videos.

    Raises:
        VidsslError: The source does not exist, is of another kind, holds no video, or is a list with refused lines.
    """
    where = f"root={str(source)!r}:"
    if not source.exists():
        raise VidsslError(
            f"{where} no such folder or list; name a folder of videos, or a list of them ({', '.join(LISTS)})"
        )
    if source.is_dir():
        found = Found(source.resolve(), list(_in_folder(source.resolve())), [])
        rule = f"video files end in {' '.join(sorted(EXTENSIONS))}, shards in .tar"
    elif is_list(source):
        found, rule = _in_list(source), "the list is empty"
    elif source.suffix.lower() == ".tar":
        found = Found(source.resolve().parent, list(_in_tar(source, source.resolve().name)), [])
        rule = f"video files end in {' '.join(sorted(EXTENSIONS))}"
    else:
        raise VidsslError(
            f"{where} not a folder; name a folder of videos, a list of them ({', '.join(LISTS)}) or a shard (.tar)"
        )
    if not found.videos:
        raise VidsslError(f"{where} no video in it; {rule}")
    found.videos.sort(key=lambda one: one.path)
    twice = next((a.path for a, b in pairwise(found.videos) if a.path == b.path), None)
    if twice is not None:
        raise VidsslError(f"{where} {twice} is listed twice; remove one of the entries")
    return found


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
                    path=path.relative_to(root).as_posix(),
                    label=clean_label(path.parent.name) if path.parent != root else None,
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


def _in_list(source: Path) -> Found:
    """The videos of a list."""
    where = f"root={str(source)!r}"
    listed = read_list(source, where)
    root = source.resolve().parent
    paths = _resolve_names([Path(entry.path) for entry in listed.entries], root)
    if any(not path.is_relative_to(root) for path in paths):
        root = Path(os.path.commonpath({path.parent for path in paths}))
    first: dict[str, ListEntry] = {}
    videos, refused, again = [], [], []
    for entry, path in zip(listed.entries, paths, strict=True):
        name = path.relative_to(root).as_posix()
        earlier = first.setdefault(name, entry)
        if earlier is entry:
            label = entry.label if listed.labelled else clean_label(Path(entry.path).parent.name)
            videos.append(VideoFile(path=name, label=label, group=entry.group))
        elif (earlier.label, earlier.group) == (entry.label, entry.group):
            again.append(f"line {entry.line}: {entry.path} is named in line {earlier.line} already")
        else:
            refused.append(
                (entry.line, f"{entry.path} has another label or group in line {earlier.line}; keep one of the lines")
            )
    refuse(f"{where}:", refused)
    more = [f"{len(again) - _SHOWN} more lines name a video again"] if len(again) > _SHOWN else []
    return Found(root, videos, [*again[:_SHOWN], *more])


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
