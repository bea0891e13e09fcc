"""Finds the entry of a list that a video's path names: the one with that path, or the only one of that name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from vidssl.types import VidsslError


class Names:
    """Finds entries by their paths or, where a name is unique, by their last parts.

    Args:
        paths: Path of each entry, with forward slashes. An entry is found by its whole path only if both paths are
            written alike.
        argument: The argument that listed the entries, for error messages: "labels='l.csv'", for instance.
        part: Returns the name in a path; by default the last part.
    """

    def __init__(
        self, paths: Sequence[str], argument: str, *, part: Callable[[PurePosixPath], str] = lambda path: path.name
    ) -> None:
        self._argument, self._paths, self._part = argument, paths, part
        self._whole = {path: at for at, path in enumerate(paths)}
        self._named: dict[str, list[int]] = {}
        for at, path in enumerate(paths):
            self._named.setdefault(part(PurePosixPath(path)), []).append(at)

    def find(self, path: str, *, name: str = "") -> int | None:
        """Find an entry.

        Args:
            path: Path of a video.
            name: Path to take the name from, if `path` itself is not an entry. "" takes `path`.

        Returns:
            Index of the entry, or None.

        Raises:
            VidsslError: Several entries have that name.
        """
        if path in self._whole:
            return self._whole[path]
        same = self._named.get(self._part(PurePosixPath(name or path)), [])
        if len(same) > 1:
            first, second = (self._paths[at] for at in same[:2])
            raise VidsslError(f"{self._argument}: {name or path} could be {first} or {second}; name whole paths")
        return same[0] if same else None
