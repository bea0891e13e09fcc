"""The nearest videos of each video, by cosine."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from vidssl.evaluate.confidence import name_ids
from vidssl.evaluate.features import Features
from vidssl.evaluate.scaling import Scaling, rescale
from vidssl.evaluate.splits import group_folds
from vidssl.types import VidsslError


@torch.no_grad()
def nearest(
    query: Features,
    gallery: Features,
    count: int,
    *,
    leave_group_out: bool = False,
    scaling: Scaling = "none",
    chunk: int = 1024,
) -> torch.Tensor:
    """The `count` nearest gallery videos of each query, by cosine.

    Memory: a second copy of both features, and chunk x V floats; a scaling needs another copy.

    Args:
        query: Features of Q videos.
        gallery: Features of V videos.
        count: Number of neighbours.
        leave_group_out: Ignore videos of the query's own group; a video without a group is a group by itself.
        scaling: How features are rescaled beforehand, by statistics of the gallery. With leave_group_out, by those of
            the groups outside the query's fold (at most vidssl.evaluate.splits.FOLDS folds).
        chunk: Queries compared at once.

    Returns:
        int64 [Q, count]: indices into the gallery, the nearest first.

    Raises:
        VidsslError: The gallery has fewer than `count` such videos for some query.
    """
    own, group = name_ids(query.groups(), gallery.groups())
    limit = max_k(query, gallery, leave_group_out=leave_group_out)
    if not 1 <= count <= limit:
        raise VidsslError(f"evaluate: {count} neighbours: take 1..{limit}, the number of videos to choose from")
    queries, videos = query.feature.float(), gallery.feature.float()
    folds = [torch.arange(len(queries))]
    if leave_group_out and scaling != "none":
        folds = [torch.from_numpy(test) for _, test in group_folds(query.groups())]
    found = torch.empty(len(queries), count, dtype=torch.int64)
    for fold in folds:
        whole = len(folds) == 1  # which needs no copy
        learnt, shown = (videos, queries) if whole else (videos[~torch.isin(group, own[fold])], queries[fold])
        asked, among = (functional.normalize(x, dim=1) for x in rescale(scaling, learnt, shown, videos))
        for at, part in zip(torch.split(fold, chunk), torch.split(asked, chunk), strict=True):
            near = part @ among.T  # [q, V]
            if leave_group_out:
                near.masked_fill_(own[at, None] == group, -torch.inf)
            found[at] = near.topk(count).indices
    return found


def max_k(query: Features, gallery: Features, *, leave_group_out: bool) -> int:
    """The largest number of neighbours that every query has."""
    if not leave_group_out:
        return len(gallery.label)
    own, group = name_ids(query.groups(), gallery.groups())
    most = torch.bincount(group, minlength=int(own.max()) + 1)[own].max()
    return len(group) - int(most)


def label_ids(*parts: Features) -> list[torch.Tensor]:
    """Labels as class ids, shared by all parts and sorted by name. Raises VidsslError if a video has no label."""
    names: list[Sequence[str]] = []
    for part in parts:
        known = [label for label in part.label if label is not None]
        if len(known) < len(part.label):
            raise VidsslError(
                "evaluate: label: some videos have none; put the videos of each class into a folder of its name, "
                "or give labels as a .csv with the columns path,label[,group]"
            )
        names.append(known)
    return name_ids(*names)
