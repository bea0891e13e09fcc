"""groups: what belongs together is held out together."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def hold_out(groups: Sequence[str], fraction: float, *, seed: int) -> npt.NDArray[np.int64]:
    """Places, int64 and ascending, of a share of what `groups` names one by one: whole groups, in an order that the seed and their names
    decide, as close to the share as they allow; of a share above 0 one group at least, and never the last one.
    """
    members: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    held: list[int] = []
    for group in sorted(members, key=lambda group: hashlib.sha256(f"{seed} {group}".encode()).digest())[:-1]:
        if len(held) + len(members[group]) / 2 > fraction * len(groups) and (held or fraction == 0):
            break
        held += members[group]
    return np.array(sorted(held), np.int64)
