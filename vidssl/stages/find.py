"""find: which videos a source holds: a folder, WebDataset shards (tar files) in it, or a list of files."""

from __future__ import annotations

import csv
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from vidssl.paths import leaves
from vidssl.types import VidsslError

EXTENSIONS = frozenset({
    ".3gp", ".asf", ".avi", ".divx", ".flv", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov",
    ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})  # fmt: skip
LISTS = (".csv", ".txt")


@dataclass(frozen=True, kw_only=True)
class Found:
    """One video. path: relative to the root and below it, with forward slashes; that of a tar's member goes on behind the tar's.

    archive, offset, bytes: of a member, the tar's path, where the member begins in it, and its length.
    """

    path: str
    label: str | None
    group: str | None = None
    archive: str | None = None
    offset: int | None = None
    bytes: int | None = None

    @property
    def file(self) -> str:
        """The file to open."""
        return self.archive or self.path


def find(source: Path) -> tuple[Path, list[Found]]:
    """The root that paths are relative to, and the videos, ordered by path. Raises VidsslError where there are none.

    The root of a list is its folder, or, where it names videos elsewhere, the deepest folder that holds all of its videos.
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


def _in_folder(root: Path) -> Iterator[Found]:
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
                yield Found(path=path.relative_to(root).as_posix(), label=path.parent.name if path.parent != root else None)
            elif path.suffix.lower() == ".tar":
                yield from _in_tar(path, path.relative_to(root).as_posix())


def _in_tar(path: Path, name: str) -> Iterator[Found]:
    """Members that are videos. The label is what the sample's `.cls` says, or "label" in its `.json`, or the member's folder.

    A tar that cannot be read to its end is found itself, beside the members before that.
    Source: WebDataset's convention that files of one sample share the name up to the first dot of its last part.
    """
    labels: dict[str, str] = {}
    videos: list[tarfile.TarInfo] = []
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                kind = PurePosixPath(member.name).suffix.lower()
                if not member.isfile():
                    continue
                if kind in EXTENSIONS:
                    videos.append(member)
                elif kind in (".cls", ".json") and (file := tar.extractfile(member)) is not None:
                    said = _label_in(file.read(), kind)
                    if said is not None:
                        labels[_sample(member.name)] = said
    except (tarfile.TarError, OSError):
        yield Found(path=name, label=None)  # the index says of it what is wrong
    for member in videos:
        folder = PurePosixPath(member.name).parent.name or None
        yield Found(
            path=f"{name}/{member.name}", label=labels.get(_sample(member.name), folder), archive=name, offset=member.offset_data,
            bytes=member.size,
        )  # fmt: skip


def _sample(name: str) -> str:
    folder, _, last = name.rpartition("/")
    return f"{folder}/{last.partition('.')[0]}"


def _label_in(data: bytes, kind: str) -> str | None:
    if kind == ".cls":
        return data.decode(errors="replace").strip() or None
    try:
        said = json.loads(data)
    except ValueError:
        return None
    label = said.get("label") if isinstance(said, dict) else None
    return None if label is None else str(label)


def _in_list(source: Path) -> tuple[Path, list[Found]]:
    """The root and the videos. .txt: a path a line. .csv: columns path, and label and group where there are any."""
    try:
        text = source.read_text(encoding="utf-8-sig")
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
        found.append(Found(path=place.relative_to(root).as_posix(), label=label, group=row.get("group") or None))
    return root, found


def _places(names: Sequence[Path], folder: Path) -> list[Path]:
    """Where the files lie that a list in `folder` names. Where a name is absolute or goes up, links to folders are followed, as the system
    follows them before it goes up; a name that stays below the folder is kept as it is written."""
    real: dict[Path, Path] = {}
    places = []
    for name in names:
        place = folder / name
        if leaves(str(name)):
            if place.parent not in real:
                real[place.parent] = place.parent.resolve()
            place = real[place.parent] / place.name
        places.append(place)
    return places
