"""splits: lists of files that belong to a data set, with the names that its videos have now."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

ENDINGS = (".txt", ".csv", ".tsv", ".list")
_LARGEST = 10_000_000  # bytes; what is larger is no list that somebody wrote
_NAME = re.compile(r"[^\s,;\"']+")


def carry(root: Path, out: Path, names: Mapping[str, str]) -> list[str]:
    """Copies every list below `root` that names a video to the same place below `out`, renamed as `names` says. Returns their paths.

    names: path of a video below `root` to that below `out`. A list may also name it by the end of its path, without folders.
    """
    ends = dict(names)
    for old, new in names.items():
        ends.setdefault(os.path.basename(old), os.path.basename(new))

    def renamed(token: str) -> str | None:
        key = token.removeprefix("./")
        if key in ends:
            return ends[key]
        end = os.path.basename(key)
        return token[: -len(end)] + ends[end] if end and end in ends else None

    carried = []
    for base, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(base, name)
            if path.suffix.lower() not in ENDINGS or path.stat().st_size > _LARGEST:
                continue
            try:
                text = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            if any(renamed(token) is not None for token in _NAME.findall(text)):
                new = _NAME.sub(lambda found: renamed(found[0]) or found[0], text)
                target = out / path.relative_to(root)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(new, encoding="utf-8")
                carried.append(path.relative_to(root).as_posix())
    return carried
