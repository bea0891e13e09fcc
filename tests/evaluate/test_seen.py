"""How many test videos a run was pretrained on, where an evaluation names other folders and lists than the training."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.clips import make_clip
from vidssl import Mixture, VideoIndex
from vidssl.cli import main
from vidssl.evaluate.run import TrainedRun, load_run
from vidssl.evaluate.seen import count_seen, seen_by
from vidssl.evaluate.splits import with_groups
from vidssl.index.holdout import fingerprint, split
from vidssl.train.config import Recipe
from vidssl.train.data_sets import describe
from vidssl.train.train import train


@pytest.fixture(scope="module")
def run(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A run whose folder has an index, as that of `vidssl train`."""
    out = tmp_path_factory.mktemp("seen") / "run"
    train(recipe, index, out, steps=2, device="cpu", quiet=True)
    index.save(out / "index.arrow")
    return load_run(out)


def _parts(index: VideoIndex, recipe: Recipe) -> tuple[list[str], list[str]]:
    """Paths of the videos that the run saw, and of those that it held out."""
    span = recipe.pretext.plan.frames
    seen, held = split(index, recipe.train.holdout, seed=recipe.train.seed, span=span)
    return seen.select(seen.usable(span)).column("path").to_pylist(), held.column("path").to_pylist()


def _moved(index: VideoIndex, paths: list[str], folder: Path) -> VideoIndex:
    """Copies of videos under other names, and one that is in no other folder, by classes."""
    for at, path in enumerate(paths):
        (folder / "ab"[at % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(index.root / path, folder / "ab"[at % 2] / f"{at}{Path(path).suffix}")
    make_clip(folder / "a" / "new.mp4", frames=77)
    return VideoIndex.build(folder, progress=False)


def test_videos_are_found_by_file_and_where_they_have_moved(
    run: TrainedRun, index: VideoIndex, recipe: Recipe, tmp_path: Path
) -> None:
    seen, held = _parts(index, recipe)
    paths = index.column("path").to_pylist()
    assert count_seen(run, index.select([paths.index(path) for path in [*seen[:3], *held]])) == 3
    assert count_seen(run, _moved(index, [*seen[:4], *held], tmp_path / "moved")) == 4


def test_without_an_index_of_the_run_it_is_not_known(run: TrainedRun, index: VideoIndex, tmp_path: Path) -> None:
    bare = replace(run, folder=tmp_path)
    some = index.select([0, 1])
    assert count_seen(bare, some) is None
    some.save(tmp_path / "index.arrow")  # of other videos than the run's
    assert count_seen(bare, some) is None
    (tmp_path / "index.arrow").write_bytes(b"damaged")
    assert count_seen(bare, some) is None
    index.save(tmp_path / "own.arrow")
    about = {**json.loads((run.folder / "run.json").read_text()), "source": str(tmp_path / "own.arrow")}
    (tmp_path / "run.json").write_text(json.dumps(about))
    assert count_seen(bare, some) == count_seen(run, some)  # the record names the index that it was trained on


def test_the_runs_own_groups_tell_what_it_held_out(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    out, grouped = tmp_path / "run", with_groups(index, r"_g\d")
    train(recipe, grouped, out, steps=1, device="cpu", quiet=True)
    grouped.save(out / "index.arrow")
    run, data = load_run(out), ["--train", str(index.root), "--clips", "1", "--ks", "1", "--device", "cpu"]
    _, held = recipe.train.split(grouped, recipe.pretext.plan.frames)
    seen = len(index.usable(recipe.pretext.plan.frames)) - len(held)
    assert count_seen(run, index) == seen
    for options, said, count in (
        ([], "tested on the run's held-out videos", 0),
        (["--groups", r"\d_"], "tested on the run's held-out videos", 0),
        (["--leave-group-out"], "tested against the others", seen),
        (["--leave-group-out", "--groups", r"_g\d"], "tested against the others", seen),
    ):
        assert main(["evaluate", "retrieval", str(out), *data, *options]) == 0
        found = json.loads((out / "retrieval.json").read_text())
        assert said in found["split"]
        assert found["data"]["test_videos_pretrained_on"] == count
        if not count:
            assert found["data"]["test"] == fingerprint(held)
    assert main(["evaluate", "pretext", str(out), "--train", str(index.root), "--device", "cpu"]) == 0
    found = json.loads((out / "pretext.json").read_text())
    assert found["data"]["test"] == fingerprint(held)
    assert found["data"]["test_videos_pretrained_on"] == 0


def test_what_first_weights_have_seen_is_not_known(
    run: TrainedRun, index: VideoIndex, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.begun_with == ""
    later = tmp_path / "later"
    begun = replace(recipe, init=str(run.folder))
    train(begun, index, later, steps=1, device="cpu", quiet=True)
    index.save(later / "index.arrow")
    data = ["--train", str(index.root), "--clips", "1", "--device", "cpu"]
    said = f" It began with the weights of {run.path}; whether those have seen test videos is not known."
    for options in (["retrieval", "--ks", "1"], ["finetune", "--steps", "1", "--batch-size", "2"]):
        capsys.readouterr()
        assert main(["evaluate", options[0], str(later), *data, *options[1:]]) == 0
        _, held = _parts(index, recipe)
        line = f"0 of {len(held)} test videos were among the run's pretraining videos (without labels)."
        assert line + said in capsys.readouterr().out
        found = json.loads((later / f"{options[0]}.json").read_text())
        assert found["data"]["test_videos_pretrained_on"] is None
    finetuned = load_run(later / "finetune" / "checkpoint")
    seen = seen_by(finetuned, index, 3)
    assert seen.note(10).startswith("3 of 10 test videos were among the run's training videos (with labels). It began")
    assert str(later / "checkpoints") in seen.begun_with
    assert seen.known is None
    other = ["--init", str(run.folder), "--steps", "1", "--batch-size", "2"]  # nothing of the run itself is in it
    assert main(["evaluate", "finetune", str(later), *data, *other]) == 0
    assert "among the run's pretraining videos is not known" in capsys.readouterr().out


def test_the_folder_may_be_gone(run: TrainedRun, index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    seen, _ = _parts(index, recipe)
    old = shutil.copytree(index.root, tmp_path / "old")
    VideoIndex.build(old, progress=False).save(tmp_path / "index.arrow")
    shutil.rmtree(old)
    moved = _moved(index, seen, tmp_path / "moved")
    assert count_seen(replace(run, folder=tmp_path), moved) == len(seen)


def test_every_set_of_a_mixture_counts(run: TrainedRun, index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    parts = [index.select(range(5)), index.select(range(5, 10))]
    mixed = replace(run, folder=tmp_path, meta={**run.meta, **describe(Mixture(dict(zip("ab", parts, strict=True))))})
    parts[0].save(tmp_path / "index_0.arrow")
    assert count_seen(mixed, index) is None  # of one set, nothing is known
    parts[1].save(tmp_path / "index_1.arrow")
    assert count_seen(mixed, index) == sum(len(_parts(part, recipe)[0]) for part in parts)


@pytest.mark.parametrize("kind", ["retrieval", "probe", "attentive", "pretext", "time"])
def test_each_evaluation_says_it(
    run: TrainedRun,
    index: VideoIndex,
    recipe: Recipe,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    seen, held = _parts(index, recipe)
    test = _moved(index, [*seen, *held, *seen[:3]], tmp_path / "test")
    learnt = tmp_path / "train"
    for at, label in enumerate("aabb"):
        (learnt / label).mkdir(parents=True, exist_ok=True)
        make_clip(learnt / label / f"{at}.mp4", frames=60 + at)
    out = tmp_path / "o.json"
    videos = {"pretext": ["--test", test], "time": ["--data", test]}.get(kind, ["--train", learnt, "--test", test])
    few = {"pretext": [], "attentive": ["--epochs", "1", "--clips", "1"]}.get(kind, ["--clips", "1"])
    paths = [str(one.root) if isinstance(one, VideoIndex) else str(one) for one in videos]
    assert main(["evaluate", kind, str(run.folder), *paths, *few, "--device", "cpu", "--out", str(out)]) == 0
    count = len(seen) + 3
    line = f"{count} of {len(test)} test videos were among the run's pretraining videos (without labels)."
    assert line in capsys.readouterr().out
    assert json.loads(out.read_text())["data"]["test_videos_pretrained_on"] == count
