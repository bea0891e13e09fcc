"""Trials: what they make is what the real commands make, and what cannot be measured says why."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.clips import make_clip
from vidssl import FrameStore, VideoIndex, VidsslError
from vidssl.forecast.look import look, work_of
from vidssl.forecast.measure import keep_frames, load_rate, re_encode, step_rate
from vidssl.prepare import Encoding, prepare
from vidssl.train.config import Recipe


def test_videos_are_re_encoded_as_prepare_does(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    """The new files are as large as those of `prepare`, and the bytes of all are told from them. (x264 itself gives a
    few bytes more or less.)
    """
    seen = look(index, 30, 60.0)
    (tmp_path / "trial").mkdir()
    made = re_encode(seen, tmp_path / "trial", 60.0)
    prepare(index, tmp_path / "real", Encoding(), recipe.pretext, workers=1, progress=False)
    real = VideoIndex.load(tmp_path / "real" / "index.arrow")
    mine, theirs = (sorted(one.column("bytes").to_pylist()) for one in (made.videos, real))
    assert mine == pytest.approx(theirs, rel=0.01)
    before = sum(index.column("bytes").to_pylist())
    assert made.bytes == pytest.approx(sum(theirs) / before, rel=0.01)
    assert [one.work for one in made.spent] == work_of(index, seen.rows).tolist()
    assert min(one.seconds for one in made.spent) > 0


def test_frames_are_kept_as_a_store_does(index: VideoIndex, tmp_path: Path) -> None:
    seen, store = look(index, 30, 60.0), FrameStore(tmp_path / "store", (24, 32))
    kept = keep_frames(seen, store, 60.0)
    assert len(kept.videos) == len(kept.spent) == 10
    assert not store.missing_of(index).any()
    assert sum(len(shard) for shard in store.shards(tmp_path / "store")[0]) == 9 * 3 + 1  # blocks of 16 frames


def test_rates_are_measured(index: VideoIndex, recipe: Recipe, tmp_path: Path) -> None:
    """Of frames that are decoded and of kept ones; a window gives several tuples."""
    store = FrameStore(tmp_path / "store", (24, 32))
    kept = keep_frames(look(index, 30, 60.0), store, 60.0)
    assert load_rate(index, recipe, None, 0.01) > 0
    assert load_rate(index, recipe, (24, 32), 0.01) > 0
    before = store.stats["misses"]
    several = replace(recipe, train=replace(recipe.train, tuples_per_window=2, batch_size=4))
    assert load_rate(kept.videos, several, (24, 32), 0.01, store) > 0
    assert store.stats["misses"] == before
    assert step_rate(index, several, torch.device("cpu"), 0.01) > 0


def test_segments_are_not_re_encoded(tmp_path: Path) -> None:
    make_clip(tmp_path / "long.mp4", frames=60)
    (tmp_path / "parts.csv").write_text("path,start_frame,end_frame\nlong.mp4,0,30\n")
    made = re_encode(look(tmp_path / "parts.csv", 30, 0.0), tmp_path, 60.0)
    assert "segments are not re-encoded" in made.reason
    with pytest.raises(VidsslError, match="segments are not re-encoded"):
        _ = made.videos


def test_files_that_are_gone_are_a_reason(index: VideoIndex, tmp_path: Path) -> None:
    make_clip(tmp_path / "0.mp4", frames=36)
    seen = look(tmp_path, 30, 0.0)
    (tmp_path / "0.mp4").unlink()
    assert "0.mp4" in re_encode(seen, tmp_path, 0.0).reason
    assert "0.mp4" in keep_frames(seen, FrameStore(tmp_path / "store", (24, 32)), 0.0).reason
    assert np.array_equal(seen.rows, [0])
