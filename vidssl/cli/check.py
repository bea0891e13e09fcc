"""The command `check`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from json import dumps
from pathlib import Path

from tqdm import tqdm

from vidssl.cli.arguments import DataPath
from vidssl.index.check import Check, FileCheck
from vidssl.paths import check_output, printable, write_output
from vidssl.types import VidsslError

_BEGINS = '{\n "check": '  # of the JSON file
_REASONS, _NAMED = 20, 5  # reasons that the table has, and files that it names for each


def check(
    data: DataPath,
    *,
    deep: bool = False,
    strict: bool = False,
    json: Path | None = None,
    workers: int | None = None,
    file_timeout: float = 60,
    allow_outside: bool = False,
) -> None:
    """Check every file of a data set: can it be used, and why not? Nothing is changed. Ctrl-C shows what was checked.

    Each file of an index is also compared with its row: is it missing, or has it changed? The exit code is 2 if no
    file can be used.

    Args:
        data: Folder of videos or shards (*.tar), list of videos (.txt, .csv), shard, or index (.arrow).
        deep: Decode every frame, as `vidssl index` does, and compare all that an index records. Without it, each file
            is opened and its first frame is decoded.
        strict: End with exit code 1 if any file is not ok.
        json: JSON file for the result of every file, in addition to the table.
        workers: Threads; None takes one for each core.
        file_timeout: Seconds that a file may take, plus one second for each MiB and each decoded frame.
        allow_outside: Also accept an index (.arrow) that names files outside of its root.
    """
    check_output(json, ".json", _BEGINS, argument="json")
    files = Check(data, deep=deep, workers=workers, file_timeout=file_timeout, allow_outside=allow_outside)
    stopped: KeyboardInterrupt | None = None
    bad = 0
    try:
        with tqdm(files, desc="check", unit="file", disable=None) as bar:
            for one in bar:
                bad += one.status != "ok"
                bar.set_postfix_str(f"{bad} not ok", refresh=False)
    except KeyboardInterrupt as error:
        stopped = error
    done = sorted(files.done.values(), key=lambda one: one.path)
    usable = sum(one.status == "ok" for one in done)
    print(_text(done, len(files), deep, files.notes))
    if json is not None:
        about = {"check": str(data), "deep": deep, "files": len(files), "checked": len(done), "ok": usable}
        write_output(json, dumps({**about, "videos": [asdict(one) for one in done]}, indent=1) + "\n", argument="json")
        print(f"wrote {printable(json)}")
    if stopped is not None:
        raise KeyboardInterrupt(f"stopped: {len(done)} of {len(files)} files were checked") from stopped
    if not usable:
        raise VidsslError(f"data={str(data)!r}: none of its {len(files)} files can be used; the table says why")
    if strict and usable < len(done):
        raise SystemExit(1)


def _text(done: Sequence[FileCheck], total: int, deep: bool, notes: Sequence[str]) -> str:
    usable = sum(one.status == "ok" for one in done)
    how = "every frame was decoded" if deep else "only first frames were decoded; --deep decodes all"
    stopped = f", {total - len(done)} not checked" if len(done) < total else ""
    lines = [f"{usable} of {total} files ok, {len(done) - usable} not{stopped} ({how})"]
    lines += _table("not ok", [(one.path, one.status) for one in done if one.status != "ok"])
    lines += _table("ok, with a note", [(one.path, one.note) for one in done if one.status == "ok" and one.note])
    return "\n".join(map(printable, [*lines, *(f"note: {note}" for note in notes)]))


def _table(title: str, found: Sequence[tuple[str, str]]) -> list[str]:
    """The files by reason, the most frequent reason first. Reasons that differ only in numbers are one reason."""
    if not found:
        return []
    kinds: dict[str, list[tuple[str, str]]] = {}
    for path, reason in found:
        kinds.setdefault(re.sub(r"[-+]?\d+(\.\d+)?", "N", reason), []).append((path, reason))
    ordered = sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    lines = [f"{title}:"]
    for kind, files in ordered[:_REASONS]:
        reasons = {reason for _, reason in files}
        lines.append(f"{len(files):8d}  {kind if len(reasons) > 1 else files[0][1]}")
        lines += [f"{'':12s}{path}{f': {reason}' if len(reasons) > 1 else ''}" for path, reason in files[:_NAMED]]
        if len(files) > _NAMED:
            lines.append(f"{'':12s}and {len(files) - _NAMED} more; --json FILE lists all")
    if rest := ordered[_REASONS:]:
        count = sum(len(files) for _, files in rest)
        lines.append(f"{count:8d}  for {len(rest)} other reasons; --json FILE lists all")
    return lines
