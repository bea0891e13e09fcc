"""find: which videos a source holds: a folder, WebDataset shards (tar files) in it, or a list of files."""

from __future__ import annotations

import csv
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from vidssl.types import VidsslError

EXTENSIONS = frozenset({
    ".3gp", ".asf", ".avi", ".divx", ".flv", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov",
    ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m",
})  # fmt: skip
LISTS = (".csv", ".txt")


@dataclass(frozen=True, kw_only=True)
class Found:
    """One video. path: relative to the root, with forward slashes (absolute where it lies elsewhere); that of a tar's member goes on behind
    the tar's. archive, offset, bytes: of a member, the tar's path, where the member begins in it, and its length."""

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
    """The root that paths are relative to, and the videos, ordered by path. Raises VidsslError where there are none."""
    where = f"root={str(source)!r}:"
    if not source.exists():
        raise VidsslError(f"{where} no such folder; name a folder of videos, or a list of them ({', '.join(LISTS)})")
    if source.is_dir():
        root, found = source.resolve(), list(_in_folder(source.resolve()))
        known = f"files are known by their ending ({' '.join(sorted(EXTENSIONS))}), shards by .tar"
    elif source.suffix in LISTS:
        root, known = source.resolve().parent, "it names none"
        found = list(_in_list(source, root))
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


def _in_list(source: Path, root: Path) -> Iterator[Found]:
    """.txt: a path a line. .csv: columns path, and label and group where there are any."""
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
    for row in rows:
        path = Path(row["path"])
        label = row.get("label") or None if "label" in row else (path.parent.name or None)
        name = Path(os.path.relpath(path, root)).as_posix() if path.is_absolute() and path.is_relative_to(root) else path.as_posix()
        yield Found(path=name, label=label, group=row.get("group") or None)
