"""Which videos are known and which are asked for; labels and groups from a list or from paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vidssl import Mixture, VideoIndex, VidsslError
from vidssl.evaluate.splits import FOLDS, group_folds, make_splits, with_groups, with_labels
from vidssl.index.holdout import fingerprint, split
from vidssl.train.config import Recipe
from vidssl.train.data_sets import describe, fingerprints


def test_without_test_videos_it_is_the_recipes_own_part(index: VideoIndex, recipe: Recipe) -> None:
    found = make_splits(recipe, {fingerprint(index)}, index)
    known, held = split(index, recipe.train.holdout, seed=recipe.train.seed, span=recipe.pretext.plan.frames)
    assert not found.leave_group_out
    assert (fingerprint(found.train), fingerprint(found.test)) == (fingerprint(known), fingerprint(held))
    assert found.description == "tested on the run's held-out videos"
    assert "the run was trained on others" in make_splits(recipe, {"other"}, index).description


def test_a_set_of_a_mixed_run_is_split_as_in_it(index: VideoIndex, recipe: Recipe) -> None:
    half = len(index) // 2
    parts = {"a": index.select(range(half)), "b": index.select(range(half, len(index)))}
    mixed = Mixture(parts, (2, 1))
    known = fingerprints(describe(mixed))
    assert known == {fingerprint(one) for one in (mixed, *parts.values())}
    _, held = recipe.train.split(mixed, recipe.pretext.plan.frames)
    files = {held.root / path for path in held.column("path").to_pylist()}
    for part in parts.values():
        found = make_splits(recipe, known, part)
        assert found.description == "tested on the run's held-out videos"
        assert {part.root / path for path in found.test.column("path").to_pylist()} < files
        every = make_splits(recipe, known, part, leave_group_out=True)
        assert every.seen.count == len(part.usable(recipe.pretext.plan.frames)) - len(found.test)
    assert fingerprints(describe(index)) == {fingerprint(index)}


def test_labels_and_groups_leave_the_held_out_videos_as_they_are(
    index: VideoIndex, recipe: Recipe, tmp_path: Path
) -> None:
    _, held = recipe.train.split(index, recipe.pretext.plan.frames)
    mine = held.column("path").to_pylist()
    regrouped = with_groups(index, r"_g\d")
    assert mine != recipe.train.split(regrouped, recipe.pretext.plan.frames)[1].column("path").to_pylist()
    found = make_splits(recipe, {fingerprint(index)}, index, groups=r"_g\d")
    assert found.test.column("path").to_pylist() == mine
    assert found.description == "tested on the run's held-out videos"
    assert found.seen.count == 0
    assert None not in found.test.column("group").to_pylist() or None in regrouped.column("group").to_pylist()
    assert len(found.train) + len(found.test) == len(index)
    some = [path for path in index.column("path").to_pylist() if path not in mine[1:]][1:]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(["path,label", *(f"{index.root / path},jump" for path in some)]))
    found = make_splits(recipe, {fingerprint(index)}, index, labels=labels)
    assert found.test.column("path").to_pylist() == [path for path in mine if path in some]
    assert len(found.train) + len(found.test) == len(some)
    assert found.test.classes == ("jump",)
    assert found.seen.count == 0
    labels.write_text("\n".join(["path,label", *(f"{index.root / path},jump" for path in some if path not in mine)]))
    with pytest.raises(VidsslError, match="the run held out none of its videos; add others, or give test"):
        make_splits(recipe, {fingerprint(index)}, index, labels=labels)


def test_groups_of_the_training_hold_out_where_the_folder_has_none(index: VideoIndex, recipe: Recipe) -> None:
    grouped = with_groups(index, r"_g\d")
    _, held = recipe.train.split(grouped, recipe.pretext.plan.frames)
    mine = held.column("path").to_pylist()
    moved = VideoIndex(grouped.table, index.root.parent / "elsewhere")
    for own in (grouped, moved):
        found = make_splits(recipe, {fingerprint(grouped)}, index, own=[own])
        assert found.test.column("path").to_pylist() == mine
        assert found.description == "tested on the run's held-out videos"
        assert found.seen.count == 0
        every = make_splits(recipe, {fingerprint(grouped)}, index, own=[own], leave_group_out=True)
        assert every.seen.count == len(index.usable(recipe.pretext.plan.frames)) - len(mine)
    part = grouped.select([row for row, path in enumerate(index.column("path").to_pylist()) if path in mine or row % 2])
    _, own = recipe.train.split(part, recipe.pretext.plan.frames)
    found = make_splits(recipe, {fingerprint(part)}, index, own=[part])  # of a folder that has other videos too
    assert found.test.column("path").to_pylist() == own.column("path").to_pylist()
    assert found.seen.count == 0
    rows = [row for row, path in enumerate(index.column("path").to_pylist()) if path in mine]
    alone = make_splits(recipe, {fingerprint(grouped)}, index.select(rows), own=[grouped])  # of held-out videos alone
    assert "by the recipe's rule" in alone.description
    assert alone.seen.count == 0


def test_copies_in_training_and_test_videos_are_counted(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    train, test = tmp_path / "train", tmp_path / "test"
    paths = index.column("path").to_pylist()
    for folder, rows in ((train, (0, 1, 2)), (test, (1, 2, 2, 3))):
        folder.mkdir()
        for at, row in enumerate(rows):
            (folder / f"{at}.avi").write_bytes((index.root / paths[row]).read_bytes())
    parts = [VideoIndex.build(folder, progress=False) for folder in (train, test)]
    found = make_splits(recipe, set(), parts[0], test=parts[1])
    (note,) = (note for note in found.notes(4, ["a"] * 4) if "copies" in note)
    assert note == (
        "3 of the 4 test videos are copies of training videos, such as 0.avi of 1.avi. "
        "The numbers are too high; remove the copies."
    )
    held = make_splits(recipe, set(), index)  # of one folder without copies
    assert held.copies_note() == ()


def test_leave_group_out_tests_every_video(index: VideoIndex, recipe: Recipe) -> None:
    found = make_splits(recipe, set(), index, leave_group_out=True)
    assert found.leave_group_out
    assert found.description == "each of 10 videos tested against the others"
    turns = group_folds(["b", "a", "b"])
    assert [(others.tolist(), own.tolist()) for others, own in turns] == [([0, 2], [1]), ([1], [0, 2])]
    many = [f"{at // 2}" for at in range(100)]  # 50 groups of two
    turns = group_folds(many)
    assert len(turns) == FOLDS
    assert sorted(at for _, own in turns for at in own.tolist()) == list(range(100))
    for others, own in turns:
        assert not {many[at] for at in others} & {many[at] for at in own}
        assert len(own) in (4, 6)


def test_leaving_groups_out_says_how_many_test_videos_the_run_saw(index: VideoIndex, recipe: Recipe) -> None:
    seen, held = split(index, recipe.train.holdout, seed=recipe.train.seed, span=recipe.pretext.plan.frames)
    seen = seen.select(seen.usable(recipe.pretext.plan.frames))
    found = make_splits(recipe, {fingerprint(index)}, index, leave_group_out=True)
    assert found.seen.count == len(seen) < len(index)
    assert len(held) > 0
    labels = index.column("label").to_pylist()
    text = f"{len(seen)} of {len(index)} test videos were among the run's pretraining videos (without labels)."
    assert text in found.notes(len(index), labels)
    everything = replace(recipe, train=replace(recipe.train, holdout=0.0))
    usable = len(index.usable(recipe.pretext.plan.frames))
    assert make_splits(everything, {fingerprint(index)}, index, leave_group_out=True).seen.count == usable
    other = make_splits(recipe, {"another"}, index, leave_group_out=True)
    assert other.seen.count is None
    assert any("is not known" in note for note in other.notes(len(index), labels))
    assert other.data()["test_videos_pretrained_on"] is None


def test_labels_and_groups_of_a_list(index: VideoIndex, tmp_path: Path) -> None:
    paths = index.column("path").to_pylist()
    lines = [f"{index.root / paths[2]},jump,g1", f"{Path(paths[0]).name},run,g2", "not/there.avi,run,g2"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,group", *lines]))
    found = with_labels(index, tmp_path / "labels.csv")
    assert list(zip(*(found.column(name).to_pylist() for name in ("path", "label", "group")), strict=True)) == [
        (paths[0], "run", "g2"),
        (paths[2], "jump", "g1"),
    ]
    assert found.video(1).path == index.video(2).path
    assert found.classes == ("jump", "run")


def test_groups_of_paths(index: VideoIndex) -> None:
    found = with_groups(index, r"_g\d")
    assert set(found.column("group").to_pylist()) == {"_g0", "_g1", "_g2", None}
    assert found.column("frames").to_pylist() == index.column("frames").to_pylist()
    assert with_groups(index, "") is index


def test_contradictions_are_named(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(VidsslError, match="leave_group_out=True"):
        make_splits(recipe, set(), index, test=index, leave_group_out=True)
    with pytest.raises(VidsslError, match="10 of its videos are in train too"):
        make_splits(recipe, set(), index, test=index)
    none_held = replace(recipe, train=replace(recipe.train, holdout=0.0))
    with pytest.raises(VidsslError, match=r"holds out no videos \(holdout=0\)"):
        make_splits(none_held, set(), index)
    with pytest.raises(VidsslError, match=r"groups='\[': not a regular expression"):
        with_groups(index, "[")
    with pytest.raises(VidsslError, match="groups='nobody': matches none"):
        with_groups(index, "nobody")
    with pytest.raises(VidsslError, match="take a list"):
        with_labels(index, tmp_path / "labels.doc")
    (tmp_path / "labels.csv").write_text("path,label\nother.avi,run\n")
    with pytest.raises(VidsslError, match="names none of the 10 videos"):
        with_labels(index, tmp_path / "labels.csv")
    (tmp_path / "labels.csv").write_text("path,label\nx/0_g0.avi,run\ny/0_g0.avi,walk\n")
    with pytest.raises(VidsslError, match=r"could be .*/x/0_g0\.avi or .*/y/0_g0\.avi"):
        with_labels(index, tmp_path / "labels.csv")
