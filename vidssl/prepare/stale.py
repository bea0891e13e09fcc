"""What earlier calls left in OUT: files that they did not finish, and files that belong to no source now.

Only what `prepare` wrote itself is deleted, and only if nobody has changed it since.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from vidssl.index.table import VideoIndex
from vidssl.paths import leads_outside, output_path, unfinished
from vidssl.prepare.journal import Journal
from vidssl.remote import RemotePath
from vidssl.types import VidsslError

SHOWN = 20  # files of one kind that the result of `prepare` names


def delete_unfinished(out: Path, names: Iterable[str]) -> None:
    """Deletes the temporary files of killed processes beside these names in `out`, which are those that it writes."""
    below: dict[str, set[str]] = {}
    for name in names:
        folder, _, file = name.rpartition("/")
        below.setdefault(folder, set()).add(file)
    for folder, files in below.items():
        try:
            left = unfinished(output_path(out, folder), files)
        except (VidsslError, OSError, ValueError):  # it leads elsewhere, or is no name: a journal may be forged
            continue
        for path in left:
            path.unlink(missing_ok=True)


def find_stale(index: VideoIndex, names: Mapping[int, str], journal: Journal, current: Iterable[str]) -> list[str]:
    """Returns the files of earlier calls in OUT that belong to no source now, ascending.

    A source that cannot be read or re-encoded now is still one, whatever the reason: its earlier copy may be the only
    good one, and is not stale. It becomes stale when its source is gone.

    Args:
        index: The sources.
        names: The path below OUT of each row's new video.
        journal: Of OUT.
        current: The other files that this call made.
    """
    there = {*index.column("path").to_pylist()}
    unknown = _Unknown(index)
    kept = [name for path, name in journal.names().items() if path not in there and path in unknown]
    return journal.stale([*names.values(), *kept, *current])


class _Unknown:
    """The paths of which the index does not know whether a source is there: in a tar or folder that was not read."""

    def __init__(self, index: VideoIndex) -> None:
        self._refused = {path for path, _ in index.skipped()}
        scanned = index.source is not None and not index.listed and not isinstance(index.root, RemotePath)
        self._root = index.root if scanned else None  # a list names each of its videos
        self._unread: dict[str, bool] = {}  # by folder

    def __contains__(self, path: str) -> bool:
        folders = list(map(str, PurePosixPath(path).parents))
        return not self._refused.isdisjoint(folders) or any(map(self._is_unread, folders))

    def _is_unread(self, folder: str) -> bool:
        if self._root is None or leads_outside(folder):
            return False
        if folder not in self._unread:
            try:
                os.scandir(self._root / folder).close()
                self._unread[folder] = False
            except (FileNotFoundError, NotADirectoryError, ValueError):  # it is gone, or no folder can have this name
                self._unread[folder] = False
            except OSError as error:
                self._unread[folder] = error.errno != errno.ENAMETOOLONG
        return self._unread[folder]


def sort_out(out: Path, stale: list[str], journal: Journal, *, remove: bool) -> list[str]:
    """Returns the stale files that have changed. If `remove`, deletes the others, and folders that are empty then."""
    changed = [name for name in stale if not journal.unchanged(name)]
    for name in stale if remove else ():
        if name in changed:
            continue
        try:
            output_path(out, name).unlink(missing_ok=True)
            for folder in list((out / name).relative_to(out).parents)[:-1]:
                (out / folder).rmdir()
        except OSError:  # a folder that is not empty
            continue
    return changed


def stale_lines(stale: list[str], changed: list[str], *, removed: bool) -> list[str]:
    """Lines that name the stale files; `changed` are those that --remove-stale keeps."""
    lines = []
    for names, what in (
        (
            [name for name in stale if name not in {*changed}],
            "deleted" if removed else "kept, but in no list and no index; --remove-stale deletes them",
        ),
        (
            changed,
            "kept, as they have changed since or no record says how they were; delete them yourself if you do not "
            "need them",
        ),
    ):
        if names:
            lines.append(f"{len(names)} files of earlier calls belong to no source now ({what}):")
            lines += [f"  stale: {name}" for name in names[:SHOWN]]
            lines += [f"  and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return lines
