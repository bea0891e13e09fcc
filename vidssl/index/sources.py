"""find: which videos a source holds: a folder, WebDataset shards (tar files) in it, or a list of files."""

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
# the longest .json or .cls in a shard, and the longest header of one of its members, that is read
SIDECAR_BYTES = 2**20
_FARTHEST = 2**63 - 1  # an offset or a size that a header makes up may be larger than the index can say

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VideoFile:
    """One video. path: relative to the root and below it, with forward slashes; that of a tar's member goes on behind
    the tar's.

    archive, offset, bytes: of a member, the tar's path, where the member begins in it, and its length. refused: why it
    cannot be used, where that is known already.
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
    """The root that paths are relative to, and the videos, ordered by path. Raises VidsslError where there are none.

    The root of a list is its folder, or, where it names videos elsewhere, the deepest folder that holds all of its
    videos.
    """
    where = f"root={str(source)!r}:"
    if not source.exists():
        raise VidsslError(f"{where} no such folder; name a folder of videos, or a list of them ({', '.join(LISTS)})")
    if source.is_dir():
        root, found = source.resolve(), list(_in_folder(source.resolve()))
        known = f"files are known by their ending ({' '.join(sorted(EXTENSIONS))}), shards by .tar"
    elif source.suffix in LISTS:
        known = "it names none"
        root, found = _in_list(source)
    else:
        raise VidsslError(f"{where} not a folder; name a folder of videos, or a list of them ({', '.join(LISTS)})")
    if not found:
        raise VidsslError(f"{where} no video in it; {known}")
    found.sort(key=lambda one: one.path)
    twice = next((a.path for a, b in pairwise(found) if a.path == b.path), None)
    if twice is not None:
        raise VidsslError(f"{where} {twice} stands in it twice; leave one out")
    return root, found


def _in_folder(root: Path) -> Iterator[VideoFile]:
    """Links to folders are followed once, hidden folders are not entered."""
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
    """The tar that lies, uncompressed, in a file object; tarfile's types know fewer kinds of those than it takes."""
    return tarfile.open(fileobj=file, mode="r:")


def _in_tar(path: Path, name: str) -> Iterator[VideoFile]:
    """Members that are videos. The label is what the sample's `.cls` says, or "label" in its `.json`, or the member's
    folder.

    A tar that cannot be read to its end is found itself, beside the members before that.
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
                    said = _label_of(tar, member, f"{name}/{member.name}")
                    if said is not None:
                        labels[_sample(member.name)] = said
    # of a damaged header tarfile raises whatever its own arithmetic meets, IndexError and RecursionError among it
    except Exception:
        yield VideoFile(path=name, label=None)  # the index says of it what is wrong
    for member in videos:
        folder = PurePosixPath(member.name).parent.name or None
        yield VideoFile(
            path=_text(f"{name}/{member.name}"),
            label=labels.get(_sample(member.name), folder and _text(folder)),
            archive=name,
            offset=min(member.offset_data, _FARTHEST),
            bytes=min(member.size, _FARTHEST),
            refused="a sparse member of a tar, whose bytes do not lie in one piece; pack it without --sparse"
            if member.issparse()
            else "",
        )


class _Bounded:
    """A file for tarfile, which would take as much memory as a header asks for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= SIDECAR_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes, and at most {SIDECAR_BYTES} are read")
        return self._file.read(size)


def _forwards(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members, each behind the one before. A negative size would lead back to one that was read already, for ever."""
    last = -1
    for member in tar:
        if member.offset <= last or member.size < 0:
            raise tarfile.ReadError(f"the header at byte {member.offset} leads backwards")
        last = member.offset
        yield member


def _label_of(tar: tarfile.TarFile, member: tarfile.TarInfo, name: str) -> str | None:
    """What a sidecar says; None where it says nothing, or is too long to be a label."""
    if member.size > SIDECAR_BYTES:
        log.warning("%s: %d bytes, and at most %d are read: it gives no label", name, member.size, SIDECAR_BYTES)
        return None
    file = tar.extractfile(member)
    return None if file is None else _label_in(file.read(), PurePosixPath(member.name).suffix.lower())


def _text(name: str) -> str:
    """A name that can be written down: bytes of it that are no UTF-8 become question marks."""
    return name.encode(errors="replace").decode()


def _sample(name: str) -> str:
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"


def _label_in(data: bytes, kind: str) -> str | None:
    if kind == ".cls":
        return data.decode(errors="replace").strip() or None
    try:
        said = parse_json(data)
    except ValueError:
        return None
    label = said.get("label") if isinstance(said, dict) else None
    return None if label is None else _text(str(label))


def _in_list(source: Path) -> tuple[Path, list[VideoFile]]:
    """The root and the videos. .txt: a path a line. .csv: columns path, and label and group where there are any."""
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
                f"root={str(source)!r}: its first line is {','.join(columns)!r}; it must name the columns: path[,label[,group]]"
            )
        rows = list(reader)
    root = source.resolve().parent
    places = _places([Path(row["path"]) for row in rows], root)
    if any(not place.is_relative_to(root) for place in places):
        root = Path(os.path.commonpath({place.parent for place in places}))
    found = []
    for row, place in zip(rows, places, strict=True):
        label = row.get("label") or None if "label" in row else (Path(row["path"]).parent.name or None)
        found.append(VideoFile(path=place.relative_to(root).as_posix(), label=label, group=row.get("group") or None))
    return root, found


def _places(names: Sequence[Path], folder: Path) -> list[Path]:
    """Where the files lie that a list in `folder` names. Where a name is absolute or goes up, links to folders are
    followed, as the system follows them before it goes up; a name that stays below the folder is kept as it is written.
    """
    real: dict[Path, Path] = {}
    places = []
    for name in names:
        place = folder / name
        if leads_outside(str(name)):
            if place.parent not in real:
                real[place.parent] = place.parent.resolve()
            place = real[place.parent] / place.name
        places.append(place)
    return places
