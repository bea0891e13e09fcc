"""The control groups of this process, which limit what it may use (containers, Slurm)."""

from __future__ import annotations

from pathlib import Path

_GROUPS, _MINE = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def groups(controller: str) -> list[Path]:
    """The folders of the groups of this process that a controller, such as "cpu", may limit; empty without groups.

    A group is limited by those above it as well, so these are listed too. Source: cgroups(7), versions 1 and 2.
    """
    try:
        lines = _MINE.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        number, names, path = line.split(":", 2)
        if number != "0" and controller not in names.split(","):
            continue
        top = _GROUPS if number == "0" else _GROUPS / names
        group = top / path.strip("/")
        found += [one for one in (group, *group.parents) if one.is_relative_to(top)]
    return found
