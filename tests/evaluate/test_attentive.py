"""The attentive probe: its arithmetic, what it sees that a mean does not, and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from vidssl import VideoIndex, VidsslError
from vidssl.cli import main
from vidssl.evaluate.attentive import Attentive, AttentivePool, Maps, attentive_probe, evaluate_attentive
from vidssl.evaluate.features import Features
from vidssl.evaluate.probe import linear_probe
from vidssl.evaluate.run import View, load_run
from vidssl.evaluate.splits import make_splits
from vidssl.train.config import Recipe
from vidssl.train.train import train


def test_one_block_is_attention_of_a_query_by_hand() -> None:
    torch.manual_seed(0)
    pool = AttentivePool(128, 5, 1).eval()
    x = torch.randn(3, 7, 128)
    weight = dict(pool.named_parameters())
    seen = functional.layer_norm(x, (128,), weight["norm.weight"], weight["norm.bias"])
    q_in = weight["query"].expand(3, 1, 128)
    wq, wk, wv = weight["attend.in_proj_weight"].chunk(3)
    bq, bk, bv = weight["attend.in_proj_bias"].chunk(3)
    q, k, v = q_in @ wq.T + bq, seen @ wk.T + bk, seen @ wv.T + bv
    heads = []
    for head in range(2):
        part = slice(64 * head, 64 * head + 64)
        looks = (q[..., part] @ k[..., part].transpose(1, 2) / math.sqrt(64)).softmax(-1)
        heads.append(looks @ v[..., part])
    query = q_in + torch.cat(heads, -1) @ weight["attend.out_proj.weight"].T + weight["attend.out_proj.bias"]
    query = query + pool.mlp(query)
    torch.testing.assert_close(pool(x), query[:, 0] @ weight["classify.weight"].T + weight["classify.bias"])
    assert sum(p.numel() for p in AttentivePool(128, 5, 4).parameters()) > 3 * sum(p.numel() for p in pool.parameters())


def maps(seed: int, videos: int = 48) -> Maps:
    """Each map has one position with a pattern; its sign, which another channel marks, is the class."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(videos, 2, 9, 16)).astype(np.float32)
    label = draw.integers(0, 2, videos)
    for video in range(videos):
        for clip in range(2):
            places = draw.permutation(9)[:2]
            x[video, clip, places[0], 0] += 6  # where to look
            x[video, clip, places[0], 1] = 4 * (2 * label[video] - 1)
            x[video, clip, places[1], 1] = -4 * (2 * label[video] - 1)  # cancels it in the mean
    return Maps(torch.from_numpy(x).half(), [f"c{one}" for one in label], [f"{at:03d}" for at in range(videos)])


HOW = Attentive(lrs=(3e-3,), weight_decays=(0.01,), epochs=15, batch_size=16)


def test_it_looks_where_the_mean_sees_nothing() -> None:
    train_maps, test_maps = maps(1, 400), maps(2, 200)
    found = attentive_probe(train_maps, test_maps, HOW)
    means = [
        Features(part.positions.float().mean((1, 2)), list(part.label), np.arange(len(part.label)))
        for part in (train_maps, test_maps)
    ]
    assert float(found.correct.double().mean()) > 0.9
    assert float(linear_probe(*means).correct.double().mean()) < 0.7


def test_the_same_seed_gives_the_same_predictions_and_groups_stay_apart() -> None:
    one = maps(3, 30)
    twice = [attentive_probe(one, one, HOW, leave_group_out=True).predicted for _ in range(2)]
    assert twice[0].equal(twice[1])
    random = one._replace(label=[f"c{at % 2}" for at in range(30)], group=[f"{at // 2}" for at in range(30)])
    found = attentive_probe(random, random, HOW, leave_group_out=True)
    assert float(found.correct.double().mean()) < 0.85  # what it has learnt by heart does not help


def test_rates_are_chosen_without_the_test_videos() -> None:
    """A rate that learns nothing is not taken."""
    how = Attentive(lrs=(1e-9, 3e-3), weight_decays=(0.01,), epochs=15, batch_size=16)
    assert float(attentive_probe(maps(1, 400), maps(2, 200), how).correct.double().mean()) > 0.85


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(VidsslError, match="depth=5: take 1 to 4"):
        Attentive(depth=5)
    with pytest.raises(VidsslError, match=r"lrs=\(\)"):
        Attentive(lrs=())
    with pytest.raises(VidsslError, match="1 class; give two"):
        attentive_probe(maps(1, 8)._replace(label=["a"] * 8), maps(2, 8), HOW)


def test_the_command(
    index: VideoIndex,
    recipe: Recipe,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = tmp_path / "run"
    train(recipe, index, run, steps=2, device="cpu", quiet=True)
    small = ("--train", str(index.root), "--clips", "2", "--epochs", "1", "--depth", "2", "--device", "cpu")
    assert main(["evaluate", "attentive", str(run), *small, "--lrs", "1e-3", "--weight-decays", "0.01"]) == 0
    said = capsys.readouterr().out
    assert "8 training videos, 2 test videos" in said
    assert "Trained minus untrained: " in said
    found = json.loads((run / "attentive.json").read_text())
    assert set(found["numbers"]) == {"trained", "untrained", "chance"}
    assert found["settings"]["depth"] == 2
    assert main(["evaluate", "attentive", str(run), *small, "--leave-group-out", "--layer", "nothing"]) == 2
    assert "no layer has this name" in capsys.readouterr().err
    assert "pool" not in found["settings"]
    monkeypatch.delattr("vidssl.cli.evaluate_data.open_kept")  # nothing is indexed before this is said
    assert main(["evaluate", "attentive", str(run), *small, "--pool", "max"]) == 2
    assert "evaluate attentive: pool='max': the probe sees the whole map; leave pool out" in capsys.readouterr().err


def test_a_view_that_pools_is_refused_and_a_layer_is_named(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, index, tmp_path / "run", steps=1, device="cpu", quiet=True)
    run, how = load_run(tmp_path / "run"), Attentive(epochs=1, lrs=(1e-3,), weight_decays=(0.1,))
    data = make_splits(run.recipe, run.trained_on, index, leave_group_out=True)
    with pytest.raises(VidsslError, match="pool='map': the probe sees the whole map"):
        evaluate_attentive(run, data, how, view=View(clips=1, pool="map"), device="cpu", progress=False)
    view = View(clips=1, layer="stages.0")
    found = evaluate_attentive(run, data, how, view=view, device="cpu", progress=False)
    assert found.protocol == "attentive probe of depth 1 on layer stages.0, 1 clips a video (V-JEPA's)"
    assert not any("pool" in note for note in found.notes)
