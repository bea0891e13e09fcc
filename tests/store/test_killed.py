"""A short form of tests/store/killing.py."""

from pathlib import Path

import numpy as np
import pytest

from tests.store.killing import KINDS, make_videos, trial
from vidssl import VideoIndex


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    return make_videos(tmp_path_factory.mktemp("killing") / "videos")


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_loses_only_its_last_shard(kind: str, index: VideoIndex, tmp_path: Path) -> None:
    assert trial(kind, index, tmp_path / kind, 1, np.random.default_rng(2)) == []
