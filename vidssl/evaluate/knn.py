"""The nearest videos of each video, by cosine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from vidssl.evaluate.confidence import name_ids
from vidssl.evaluate.features import Features
from vidssl.types import VidsslError


@torch.no_grad()
def nearest(
    query: Features, gallery: Features, count: int, *, leave_group_out: bool = False, chunk: int = 1024
) -> torch.Tensor:
    """int64 [Q, count]: places in the gallery, the nearest first. Memory: both features once more, and chunk x V
    numbers.

    leave_group_out: videos of the query's own group are not looked at; one without a group is a group by itself.
    Raises VidsslError where `count` videos cannot be found.
    """
    own, group = name_ids(query.groups(), gallery.groups())
    limit = max_k(query, gallery, leave_group_out=leave_group_out)
    if not 1 <= count <= limit:
        raise VidsslError(f"evaluate: {count} neighbours: take 1..{limit}, as many videos can be found")
    queries, videos = (
        functional.normalize(query.feature.float(), dim=1),
        functional.normalize(gallery.feature.float(), dim=1),
    )
    found = torch.empty(len(queries), count, dtype=torch.int64)
    for start in range(0, len(queries), chunk):
        near = queries[start : start + chunk] @ videos.T  # [q, V]
        if leave_group_out:
            near.masked_fill_(own[start : start + chunk, None] == group, -torch.inf)
        found[start : start + chunk] = near.topk(count).indices
    return found


def max_k(query: Features, gallery: Features, *, leave_group_out: bool) -> int:
    """Videos that every query can find."""
    if not leave_group_out:
        return len(gallery.label)
    own, group = name_ids(query.groups(), gallery.groups())
    most = torch.bincount(group, minlength=int(own.max()) + 1)[own].max()
    return len(group) - int(most)


def label_ids(*parts: Features) -> list[torch.Tensor]:
    """Labels as numbers of one numbering, in the order of their names. Raises VidsslError where one is missing."""
    names: list[Sequence[str]] = []
    for part in parts:
        known = [label for label in part.label if label is not None]
        if len(known) < len(part.label):
            raise VidsslError(
                "evaluate: label: some videos have none; put each class's videos into a folder of its name, or name labels in a .csv "
                "with the columns path,label[,group]"
            )
        names.append(known)
    return name_ids(*names)
