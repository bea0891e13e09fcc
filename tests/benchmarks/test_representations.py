"""The benchmark asks every encoder on both sets, and says what the runs say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import bench_representations
from benchmarks.bench_representations import WAYS, main, summed
from benchmarks.method_tables import representations_table
from tests.clips import make_clip
from vidssl.types import VidsslError


def test_gains_are_those_of_pairs() -> None:
    rows = [
        {"trained": dict.fromkeys(WAYS, a), "untrained": dict.fromkeys(WAYS, b)}
        for a, b in ((0.5, 0.4), (0.9, 0.8), (0.7, 0.6))
    ]
    after, before = (torch.arange(10) < most for most in (7, 6))
    found = summed(rows, [{"trained": dict.fromkeys(WAYS, after), "untrained": dict.fromkeys(WAYS, before)}] * 3)["R@1"]
    assert found["trained"].value == pytest.approx(0.7)
    assert found["gain"].value == pytest.approx(0.1)
    assert found["pairs"].value == pytest.approx(0.1)
    assert found["gain"].low == pytest.approx(0.1)  # every seed gains alike, however much they differ
    assert found["pairs"].low == pytest.approx(0.0, abs=0.04)  # three of thirty videos
    assert found["trained"].low is not None
    assert found["trained"].low < 0.3


def test_every_person_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for action in ("bend", "jump"):
        for person in ("ann", "bob", "cat", "dan", "eve", "fay"):
            path = tmp_path / "set" / action / f"{person}_{action}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            make_clip(path, frames=36, gop=12)
    main(weizmann=tmp_path / "set", methods=("vcop",), seeds=(0,), demo=False, strict=("vcop",), steps=1, out=tmp_path)
    (path,) = tmp_path.glob("*.jsonl")
    first, strict = map(json.loads, path.read_text().splitlines())
    assert first["workload"] == "weizmann, vcop"
    assert strict["workload"] == "weizmann, vcop, trained without the person"
    for line in (first, strict):
        assert set(line["numbers"]) == set(WAYS)
        share = line["runs"][0]["trained"]["linear"] * 12
        assert share == pytest.approx(round(share))  # all twelve were asked for
    assert "vcop, trained without the person | r3d_tiny_difference | 1 | 1 |" in representations_table([first, strict])
    with pytest.raises(VidsslError, match=r"methods=\['nope'\]"):
        bench_representations.main(methods=("nope",))
