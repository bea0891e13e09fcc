"""Features that add are said to add, and those that do not are not; B is a file or a module."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.evaluate import complement
from vidssl.evaluate.cache import save_features
from vidssl.evaluate.complement import build_other, error_overlap, evaluate_complement
from vidssl.evaluate.confidence import Estimate
from vidssl.evaluate.features import Features
from vidssl.evaluate.probe import Predictions
from vidssl.evaluate.run import View, load_run
from vidssl.evaluate.splits import Splits, make_splits
from vidssl.train.config import Recipe
from vidssl.train.train import train

OTHER = '''
import torch
from torch import nn
from vidssl.evaluate.features import Clips, single_frames
from vidssl.kernels.augment import Augment

def mean_colour():
    """A module of single pictures [N, 3, H, W]."""
    small = Augment(resize=(20, 20), crop=(16, 16))
    clips = Clips(count=3, length=1, augment=small, encode=single_frames)
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), clips

def nothing():
    return nn.Identity()
'''


def test_errors_are_counted_in_pairs() -> None:
    label = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    answers = torch.tensor([[0, 0, 0, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 0]])
    a, b = (Predictions(answer, label, ["x", "y"]) for answer in answers)
    assert error_overlap(a, b) == {
        "both right": 4,
        "only A right": 1,
        "only B right": 1,
        "both wrong": 2,
        "both wrong, expected": round(3 * 3 / 8, 1),
    }


def test_what_complements_gains_and_what_repeats_does_not(
    index: VideoIndex, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four classes of two bits: A knows one bit, B the other; with A as B again there is nothing to gain."""
    out = tmp_path / "run"
    train(recipe, index, out, steps=1, device="cpu", quiet=True)
    random = np.random.default_rng(0)

    def made(count: int, knows: tuple[float, float]) -> Features:
        bits = np.random.default_rng(count).integers(0, 2, (count, 2))
        x = bits * np.array(knows) + random.normal(0, 0.3, (count, 2))
        label = [f"{a}{b}" for a, b in bits.tolist()]
        return Features(
            torch.from_numpy(x).float(), list(label), np.arange(count), [f"g{at // 2}" for at in range(count)]
        )

    first, second = ((made(200, knows), made(120, knows)) for knows in ((1.0, 0.0), (0.0, 1.0)))
    noise = (made(200, (0.0, 0.0)), made(120, (0.0, 0.0)))
    data = Splits(train=index, test=index, description="made up")
    monkeypatch.setattr(complement, "run_features", lambda *_, **__: ([first[0], noise[0]], [first[1], noise[1]]))
    monkeypatch.setattr(complement, "_others", lambda *_, **__: second)
    found = evaluate_complement(load_run(out), data, "second", device="cpu", progress=False)
    trained, untrained = (found.numbers[f"A ({name}) + B"] for name in ("trained", "untrained"))
    assert trained["accuracy"].value > 0.85
    assert found.numbers["B"]["accuracy"].value < 0.65
    assert trained["gain over B"].low is not None
    assert trained["gain over B"].low > 0.2
    assert untrained["gain over B"].low is not None
    assert untrained["gain over B"].low <= 0.05
    written = json.loads((out / "complement.json").read_text())
    difference = trained["accuracy"].value - found.numbers["B"]["accuracy"].value
    assert written["numbers"]["A (trained) + B"]["gain over B"]["value"] == pytest.approx(difference)
    counts = written["detail"]["overlap"]["trained"]
    assert sum(counts[name] for name in ("both right", "only A right", "only B right", "both wrong")) == 120

    monkeypatch.setattr(complement, "_others", lambda *_, **__: first)
    again = evaluate_complement(load_run(out), data, "first", device="cpu", progress=False)
    assert again.numbers["A (trained) + B"]["gain over B"] == Estimate(0.0, 0.0, 0.0)


def test_files_and_modules(
    index: VideoIndex,
    recipe: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "run"
    train(recipe, index, out, steps=1, device="cpu", quiet=True)
    run, view = load_run(out), View(clips=2)
    data = make_splits(run.recipe, run.trained_on, index, leave_group_out=True)
    (tmp_path / "theirs.py").write_text(OTHER)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = evaluate_complement(run, data, "theirs:mean_colour", view=view, device="cpu", progress=False)
    assert found.settings["features B"] == 12
    assert found.counts["test videos"] == 10
    paths = index.column("path").to_pylist()
    save_features(tmp_path / "b.safetensors", torch.rand(8, 5), paths[:8])
    found = evaluate_complement(run, data, str(tmp_path / "b.safetensors"), view=view, device="cpu", progress=False)
    assert (found.counts["test videos"], found.counts["test videos left out"]) == (8, 2)
    index.save(out / "index.arrow")
    asked = (
        "--train",
        str(index.root),
        "--leave-group-out",
        "--other",
        str(tmp_path / "b.safetensors"),
        "--clips",
        "2",
        "--device",
        "cpu",
    )
    assert main(["evaluate", "complement", str(out), *asked]) == 0
    assert "A (trained) + B" in capsys.readouterr().out
    for other, said in (
        ("theirs:nothing", r"the function returns Identity; let it return \(torch module"),
        ("theirs:nobody", "no attribute"),
        ("x", "module:function"),
    ):
        with pytest.raises(VidsslError, match=said):
            build_other(other)
    del sys.modules["theirs"]
