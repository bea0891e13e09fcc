"""Which videos are known and which are asked for; labels and groups from a list or from paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vidssl import VideoIndex, VidsslError
from vidssl.evaluate.splits import by_turns, grouped, parts, relabelled
from vidssl.index.holdout import fingerprint, split
from vidssl.train.config import Recipe


def test_without_test_videos_it_is_the_recipes_own_part(index: VideoIndex, recipe: Recipe) -> None:
    found = parts(recipe, fingerprint(index), index)
    known, held = split(index, recipe.train.holdout, seed=recipe.train.seed, span=recipe.pretext.plan.frames)
    assert found.asked is not None
    assert (fingerprint(found.known), fingerprint(found.asked)) == (fingerprint(known), fingerprint(held))
    assert found.split == "tested on the run's held-out videos"
    assert "the run was trained on others" in parts(recipe, "other", index).split


def test_by_group_nothing_is_parted(index: VideoIndex, recipe: Recipe) -> None:
    found = parts(recipe, "", index, by_group=True)
    assert found.apart
    assert found.split == "each of 10 videos tested with what the others tell"
    turns = by_turns(["b", "a", "b"])
    assert [(others.tolist(), own.tolist()) for others, own in turns] == [([0, 2], [1]), ([1], [0, 2])]


def test_labels_and_groups_of_a_list(index: VideoIndex, tmp_path: Path) -> None:
    paths = index.column("path").to_pylist()
    lines = [f"{index.root / paths[2]},jump,g1", f"{Path(paths[0]).name},run,g2", "not/there.avi,run,g2"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,group", *lines]))
    found = relabelled(index, tmp_path / "labels.csv")
    assert list(zip(*(found.column(name).to_pylist() for name in ("path", "label", "group")), strict=True)) == [
        (paths[0], "run", "g2"),
        (paths[2], "jump", "g1"),
    ]
    assert found.video(1).path == index.video(2).path
    assert found.classes == ("jump", "run")


def test_groups_of_paths(index: VideoIndex) -> None:
    found = grouped(index, r"_g\d")
    assert set(found.column("group").to_pylist()) == {"_g0", "_g1", "_g2", None}
    assert found.column("frames").to_pylist() == index.column("frames").to_pylist()
    assert grouped(index, "") is index


def test_contradictions_are_named(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match="by_group=True"):
        parts(recipe, "", index, test=index, by_group=True)
    with pytest.raises(VidsslError, match="10 of its videos are in train too"):
        parts(recipe, "", index, test=index)
    none_held = replace(recipe, train=replace(recipe.train, holdout=0.0))
    with pytest.raises(VidsslError, match=r"holds out no videos \(holdout=0\)"):
        parts(none_held, "", index)
    with pytest.raises(VidsslError, match=r"groups='\[': not a regular expression"):
        grouped(index, "[")
    with pytest.raises(VidsslError, match="groups='nobody': matches none"):
        grouped(index, "nobody")
    with pytest.raises(VidsslError, match=r"take a \.csv"):
        relabelled(index, tmp_path / "labels.txt")
    (tmp_path / "labels.csv").write_text("path,label\nother.avi,run\n")
    with pytest.raises(VidsslError, match="names none of the 10 videos"):
        relabelled(index, tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_text("path,label\nx/0_g0.avi,run\ny/0_g0.avi,walk\n")
    with pytest.raises(VidsslError, match=r"could be .*/x/0_g0\.avi or .*/y/0_g0\.avi"):
        relabelled(index, tmp_path / "labels.csv")
