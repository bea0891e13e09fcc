"""Evaluation from a store: the same bits whatever is kept, and the videos as the run saw them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from vidssl import FrameStore, VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.evaluate import features as features_module
from vidssl.evaluate.accuracy import evaluate_pretext
from vidssl.evaluate.audit import audit
from vidssl.evaluate.cache import run_features
from vidssl.evaluate.complement import evaluate_complement
from vidssl.evaluate.features import Clips
from vidssl.evaluate.finetune import FineTune, evaluate_finetune
from vidssl.evaluate.probe import evaluate_probe
from vidssl.evaluate.retrieval import evaluate_retrieval
from vidssl.evaluate.run import TrainedRun, View, load_run
from vidssl.evaluate.splits import Splits
from vidssl.kernels.reduce import reduce
from vidssl.loader import Loader
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.train import train
from vidssl.types import Frames
from vidssl.video.decode import Video, decode

SIZE, TEXT = (21, 37), "21x37"  # the recipe resizes to 24 x 32, and crops 16 x 16
VIEW = View(clips=2)
CONFIG = TrainConfig(
    batch_size=2, lr=0.02, amp="off", holdout=0.0, workers=1, steps=4, log_every=2, save_every=2, val_every=2, seed=3
)


@pytest.fixture(scope="module")
def runs(index: VideoIndex, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each store size."""
    out = tmp_path_factory.mktemp("runs")
    for size in ("none", "native", TEXT):
        train(replace(recipe, store_size=size), index, out / size, steps=1, device="cpu", quiet=True)
    return {size: out / size for size in ("none", "native", TEXT)}


@pytest.fixture(scope="module")
def data(index: VideoIndex) -> Splits:
    return Splits(
        train=index.select(range(0, 10, 2)), test=index.select(range(1, 10, 2)), description="every other video"
    )


@pytest.fixture(scope="module")
def full(index: VideoIndex, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Full stores by size."""
    out = tmp_path_factory.mktemp("full")
    for size, text in ((SIZE, TEXT), ("native", "native")):
        FrameStore(out / text, size).fill(index, progress=False)
    return {text: out / text for text in (TEXT, "native")}


def stores(index: VideoIndex, full: Path, folder: Path) -> Iterator[tuple[str, FrameStore]]:
    """An empty, a half and a full store, which keep nothing more."""
    (folder / "empty").mkdir(parents=True)
    yield "empty", FrameStore(folder / "empty", SIZE, limit=0)
    FrameStore(folder / "half", SIZE).fill(index.select(range(5)), progress=False)
    yield "half", FrameStore(folder / "half", SIZE, limit=0)
    yield "full", FrameStore(full, SIZE, limit=0)


def elsewhere(run: Path, folder: Path, store: FrameStore | None = None) -> TrainedRun:
    """The run with a folder of its own for features and results."""
    return replace(load_run(run, store=store), folder=folder)


def features(run: TrainedRun, data: Splits, view: View = VIEW) -> list[torch.Tensor]:
    """Features of the untrained encoder, whose weights do not depend on the size."""
    encoders = {"untrained": run.encoders()["untrained"]}
    found = run_features(run, data, encoders, view, device="cpu", progress=False)
    return [one.feature for part in found for one in part]


def results(run: TrainedRun, index: VideoIndex, data: Splits) -> dict[str, Any]:
    """The numbers of all evaluations of a run, and the weights of a fine-tuned one."""
    how = FineTune(clips=2, train=CONFIG)
    found = {
        "retrieval": evaluate_retrieval(run, data, view=VIEW, ks=(1, 2), device="cpu", progress=False).numbers,
        "probe": evaluate_probe(run, data, view=VIEW, ks=(1,), device="cpu", progress=False).numbers,
        "pretext": evaluate_pretext(run, index, tuples=2, device="cpu", workers=2).numbers,
        "finetune": evaluate_finetune(run, data, how, device="cpu", quiet=True).numbers,
    }
    tuned = checkpoint.load_weights(checkpoint.find(run.folder / "finetune" / "checkpoint"), "encoder")
    return {
        **found,
        "features": [one.tolist() for one in features(run, data)],
        "fine-tuned": {name: value.tolist() for name, value in tuned.items()},
    }


def test_results_do_not_depend_on_what_is_kept(
    runs: dict[str, Path], full: dict[str, Path], index: VideoIndex, data: Splits, tmp_path: Path
) -> None:
    wanted = results(elsewhere(runs[TEXT], tmp_path / "without"), index, data)
    for kept, store in stores(index, full[TEXT], tmp_path / "stores"):
        assert results(elsewhere(runs[TEXT], tmp_path / kept, store), index, data) == wanted, kept
        hits, misses = store.stats["hits"], store.stats["misses"]
        assert {"empty": hits == 0 < misses, "half": hits > 0 < misses, "full": misses == 0 < hits}[kept]


def test_videos_are_shown_as_the_run_saw_them(
    runs: dict[str, Path], index: VideoIndex, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without a store: an encoder of size S is shown clips of frames that were reduced to S."""
    found = {size: features(elsewhere(run, tmp_path / size), data) for size, run in runs.items()}

    def reduced(video: Video, numbers: npt.NDArray[np.int64]) -> Frames:
        return reduce(decode(video, numbers), SIZE)

    monkeypatch.setattr(features_module, "decode", reduced)
    plain = replace(load_run(runs["none"]), folder=tmp_path / "reduced")
    wanted = features(plain, data)
    assert all(torch.equal(one, other) for one, other in zip(found[TEXT], wanted, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(found["native"], found["none"], strict=True))
    assert not any(torch.equal(one, other) for one, other in zip(found[TEXT], found["none"], strict=True))


def test_pretext_and_fine_tuning_see_the_size_of_the_run(
    runs: dict[str, Path], index: VideoIndex, data: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaders of an evaluation without a store show the size of the run, and none if it has none."""
    seen: list[str | None] = []
    real = Loader.__init__

    def spy(self: Loader, *positional: Any, **settings: Any) -> None:
        store = settings.get("store")
        seen.append(None if store is None else store.size_text)
        real(self, *positional, **settings)

    monkeypatch.setattr(Loader, "__init__", spy)
    for size, shown in (("none", None), ("native", "native"), (TEXT, TEXT)):
        run = elsewhere(runs[size], tmp_path / size)
        evaluate_pretext(run, index, tuples=1, device="cpu", workers=1)
        evaluate_finetune(run, data, FineTune(clips=1, train=replace(CONFIG, steps=1)), device="cpu", quiet=True)
        assert seen == [shown] * len(seen) != []
        seen.clear()


def test_the_audit_reads_the_store(
    runs: dict[str, Path], full: dict[str, Path], index: VideoIndex, tmp_path: Path
) -> None:
    sized = load_run(runs[TEXT]).recipe
    settings: dict[str, Any] = {"run": runs[TEXT], "tuples": 60, "device": "cpu", "progress": False}
    store = FrameStore(full[TEXT], SIZE, limit=0)
    found = audit(sized, index, store=store, **settings)
    assert found == audit(sized, index, **settings)
    assert store.stats["misses"] == 0 < store.stats["hits"]
    assert found.scores != audit(replace(sized, store_size="none"), index, **{**settings, "run": None}).scores
    with pytest.raises(VidsslError, match="store_size: '21x37' in the run, 'none or native' here"):
        audit(replace(sized, store_size="native"), index, **settings)
    native = replace(sized, store_size="native")
    with pytest.raises(VidsslError, match="store_size=21x37: the recipe of the run has store_size=native"):
        audit(native, index, store=store, **{**settings, "run": None})


def test_features_of_two_sizes_are_not_confused(
    runs: dict[str, Path], data: Splits, full: dict[str, Path], tmp_path: Path
) -> None:
    """Runs share a folder here: native and none show the same frames, another size does not."""
    made = [features(elsewhere(runs[size], tmp_path), data)[0] for size in ("none", TEXT)]
    assert not torch.equal(*made)
    files = set((tmp_path / "features").iterdir())
    assert torch.equal(features(elsewhere(runs["native"], tmp_path), data)[0], made[0])
    store = FrameStore(full[TEXT], SIZE)
    assert torch.equal(features(elsewhere(runs[TEXT], tmp_path, store), data)[0], made[1])
    assert set((tmp_path / "features").iterdir()) == files
    assert store.stats["hits"] == 0  # from the cache


def test_what_an_evaluation_misses_is_kept(runs: dict[str, Path], data: Splits, tmp_path: Path) -> None:
    store = FrameStore(tmp_path / "store", SIZE)
    view = View(clips=40)  # takes longer than to keep the first video
    features(elsewhere(runs[TEXT], tmp_path, store), data, view)
    assert store.stats["kept"] > 0


def test_b_sees_videos_as_decoded(
    runs: dict[str, Path], data: Splits, full: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other model of `complement` has not learnt from videos of the run's size."""
    module = torch.nn.Sequential(torch.nn.AvgPool3d((8, 16, 16)), torch.nn.Flatten())
    clips = replace(VIEW.of(load_run(runs["none"]).recipe), count=1)
    monkeypatch.setattr("vidssl.evaluate.complement.build_other", lambda name: (module, clips))
    seen = []
    real = Clips.read

    def spy(self: Clips, *positional: Any) -> torch.Tensor:
        if self.count == 1:
            seen.append(self.store)
        return real(self, *positional)

    monkeypatch.setattr(Clips, "read", spy)
    for size in (TEXT, "native"):
        store = FrameStore(full[size], "native" if size == "native" else SIZE)
        run = elsewhere(runs[size], tmp_path / size, store)
        evaluate_complement(run, data, "module:function", view=VIEW, device="cpu", progress=False)
        assert seen == [store if size == "native" else None] * len(seen) != []
        seen.clear()


def test_a_crop_larger_than_the_size_is_refused(runs: dict[str, Path], data: Splits, tmp_path: Path) -> None:
    run = elsewhere(runs[TEXT], tmp_path)
    large = View(clips=1, resize=(48, 64), crop=(22, 22))
    with pytest.raises(VidsslError, match=r"crop=\(22, 22\): the run sees its videos at 21x37"):
        evaluate_retrieval(run, data, view=large, device="cpu", progress=False)
    how = FineTune(resize=(48, 64), crop=(22, 22), train=CONFIG)
    with pytest.raises(VidsslError, match=r"crop=\(22, 22\): the run sees its videos at 21x37"):
        evaluate_finetune(run, data, how, device="cpu", quiet=True)
    fits = replace(large, crop=(21, 21))
    found = evaluate_retrieval(run, data, view=fits, ks=(1,), device="cpu", progress=False)
    assert found.notes[-1] == "Videos are shown at 21x37, the run's store_size, and resized from there to 48x64."
    (plain,) = [View(clips=1).notes(load_run(runs["none"]).recipe)]
    assert plain == ()
    assert View(resize=SIZE).notes(run.recipe) == ("Videos are shown at 21x37, the run's store_size.",)


@pytest.mark.parametrize("size", [TEXT, "none"])
def test_fine_tuning_goes_on_with_and_without_the_store(
    runs: dict[str, Path], data: Splits, full: dict[str, Path], size: str, tmp_path: Path
) -> None:
    """A native store shows the frames that a run without a size sees, so either may go on with the other's."""
    kept, frames = (TEXT, SIZE) if size == TEXT else ("native", "native")
    how = FineTune(clips=1, train=CONFIG)
    tuned = {}
    for first, then in ((False, False), (True, False), (False, True)):
        run = elsewhere(runs[size], tmp_path / f"{first}{then}")
        with_store = replace(run, store=FrameStore(full[kept], frames, limit=0))
        half = replace(how, train=replace(CONFIG, steps=2))
        evaluate_finetune(with_store if first else run, data, half, device="cpu", quiet=True)
        evaluate_finetune(with_store if then else run, data, how, resume=True, device="cpu", quiet=True)
        tuned[first, then] = checkpoint.load_weights(checkpoint.find(run.folder / "finetune" / "checkpoint"), "encoder")
    for weights in tuned.values():
        assert all(torch.equal(weights[name], value) for name, value in tuned[False, False].items())


def test_commands_take_a_store(
    runs: dict[str, Path], index: VideoIndex, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command reads the store, fills it, and gives the numbers that it gives without."""
    index.save(tmp_path / "index.arrow")
    data = ["--train", str(tmp_path / "index.arrow")]
    tune = ["--steps", "2", "--batch-size", "2", "--holdout", "0", "--workers", "1", "--clips", "1"]
    commands = {
        "retrieval": [*data, "--ks", "1", "--clips", "2"],
        "probe": [*data, "--ks", "1", "--clips", "2"],
        "finetune": [*data, *tune],
        "pretext": ["--test", str(tmp_path / "index.arrow"), "--tuples", "1"],
    }
    store = ["--store", str(tmp_path / "store")]
    for name, arguments in commands.items():
        numbers = []
        for extra in ([], store):
            shutil.copytree(runs[TEXT], tmp_path / "run")
            assert main(["evaluate", name, str(tmp_path / "run"), *arguments, "--device", "cpu", *extra]) == 0
            numbers.append(json.loads((tmp_path / "run" / f"{name}.json").read_text())["numbers"])
            out = capsys.readouterr().out
            assert bool(re.search(rf"store {tmp_path}/store: \d+ of \d+ windows were read from the", out)) == bool(
                extra
            )
            assert ("a new folder" in out) == (bool(extra) and name == "retrieval")
            shutil.rmtree(tmp_path / "run")
        assert numbers[0] == numbers[1], name
    assert FrameStore.paths(tmp_path / "store")


@pytest.mark.parametrize(
    ("trained", "options", "message"),
    [
        ("none", [], "was trained with store_size=none; add --store-size native"),
        ("none", ["--store-size", TEXT], f"store_size={TEXT}: the recipe of the run has store_size=none; take a store"),
        (TEXT, ["--store-size", "24x32"], f"store_size=24x32: the recipe of the run has store_size={TEXT}; take"),
        ("native", ["--store-size", TEXT], "the recipe of the run has store_size=native; take a store of native"),
        (TEXT, ["--store-size", "small"], "store_size='small': take native, or HEIGHTxWIDTH"),
    ],
)
@pytest.mark.parametrize("command", ["retrieval", "finetune", "finetune_opn", "pretext", "complement"])
def test_another_size_is_refused(
    runs: dict[str, Path],
    command: str,
    trained: str,
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = ["--test" if command == "pretext" else "--train", str(tmp_path)]
    other = ["--other", "b.safetensors"] if command == "complement" else []
    store = ["--store", str(tmp_path / "store")]
    assert main(["evaluate", command, str(runs[trained]), *data, *other, *store, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_size_needs_a_store(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--store-size", TEXT], ["--store-limit", "1GB"]):
        assert main(["evaluate", "retrieval", str(runs[TEXT]), "--train", str(tmp_path), *options]) == 2
        assert f"{options[0][2:].replace('-', '_')}={options[1]!r}: add --store FOLDER" in capsys.readouterr().err
