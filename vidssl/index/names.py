"""Which of some named things a video's path means: the one of the same path, or the only one of the same name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from vidssl.types import VidsslError


class Names:
    """Finds entries by their paths or, where a name is unique, by their last parts.

    Args:
        paths: Path of each entry, with forward slashes. Paths that are to be found whole must be written as those asked
            for.
        argument: Who named them, for the error: "labels='l.csv'", for instance.
        part: What of a path is its name; its last part by default.
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
        """The place of the entry that `path` means, or None. name: what stands for the path where it is not found
        whole.

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
