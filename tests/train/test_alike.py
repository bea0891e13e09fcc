"""Processes that were not started alike are told so, all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.train.processes import together
from vidssl.index.table import VideoIndex
from vidssl.train import alike
from vidssl.train.config import Recipe
from vidssl.train.distributed import ProcessGroup


def test_what_a_machine_decides_may_differ(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    def work(group: ProcessGroup) -> None:
        own = replace(recipe.train, workers=1 + group.rank, threads=1 + group.rank, timeout=100.0 + group.rank)
        alike.need_alike(replace(recipe, train=own).as_dict(), index, group)

    assert together(work, tmp_path, nodes=(1, 1)) == [None, None]


@pytest.mark.parametrize(
    ("what", "named"),
    [
        ("settings", "Rank 0 has train.lr: 0.5, but here 0.25; give the same options on every machine (rank 1, on "),
        ("videos", "fingerprint"),
        ("versions", "Rank 0 has vidssl: '0', but here '1'; install the same versions on every machine (rank 1, on "),
    ],
)
def test_other_settings_videos_or_versions_are_named(
    what: str, named: str, index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(group: ProcessGroup) -> None:
        settings: dict[str, Any] = replace(recipe, train=replace(recipe.train, lr=0.5)).as_dict()
        videos = index
        if what == "settings" and group.rank:
            settings["train"]["lr"] = 0.25
        if what == "videos" and group.rank:
            videos = index.select(list(range(len(index) - 1)))
        if what == "versions":
            monkeypatch.setattr(alike, "versions", lambda: {"vidssl": str(group.rank)})
        alike.need_alike(settings, videos, group)

    texts = together(work, tmp_path, nodes=(1, 1))
    assert texts[0] == texts[1]
    assert named in texts[0]
    if what == "videos":
        assert texts[0].startswith(
            f"train: the processes were not started alike. Rank 0 has data: '{len(index)} videos"
        )
        assert "give every machine the same files, with the same names below --data (rank 1, on " in texts[0]
