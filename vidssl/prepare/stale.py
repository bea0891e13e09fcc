"""What earlier calls left in OUT: files that they did not finish, and files that belong to no source now.

Only what `prepare` wrote itself is deleted, and only if nobody has changed it since.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vidssl.paths import output_path, unfinished
from vidssl.prepare.journal import Journal
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
