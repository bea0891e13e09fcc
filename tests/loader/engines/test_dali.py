"""What the DALI graph is fed. What comes out of it: test_loader.py, test_dali_decode.py; on a GPU: test_gpu.py."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nvidia.dali.tensors import TensorCPU

from tests.clips import make_clip
from tests.loader.engines.test_dali_decode import PLAIN
from vidssl import Loader, VideoIndex
from vidssl.loader.engines import dali as graph
from vidssl.loader.engines.dali import as_fed

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, bool]]:
    """(address, whether it is said to be pinned) of what DALI is given; pinned memory itself needs a driver."""
    given: list[tuple[int, bool]] = []

    def tensor(array: Any, is_pinned: bool = False) -> TensorCPU:
        given.append((array.ctypes.data, is_pinned))
        return TensorCPU(array)

    monkeypatch.setattr(graph, "TensorCPU", tensor)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    return given


def test_frames_for_a_gpu_are_said_to_be_pinned(told: list[tuple[int, bool]]) -> None:
    frames = [np.arange(2 * 6 * 4, dtype=np.uint8).reshape(2, 6, 4), np.full((1, 3, 2), 7, np.uint8)]
    assert all(fed is array for fed, array in zip(as_fed(frames, CPU), frames, strict=True))
    assert told == []
    for fed, array in zip(as_fed(frames, CUDA), frames, strict=True):
        assert np.shares_memory(np.asarray(fed), array)
        assert np.array_equal(np.asarray(fed), array)
        assert fed.layout() == ""
    assert told == [(array.ctypes.data, True) for array in frames]


def test_dali_takes_what_it_is_fed_for_a_gpu(
    tmp_path: Path, told: list[tuple[int, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same batches, whether frames come as arrays or as DALI's tensors of the same memory."""
    for number in range(3):
        make_clip(tmp_path / f"{number}.mp4", frames=30 + number, size=(48, 64 + 16 * number))
    index = VideoIndex.build(tmp_path, progress=False)

    def clips() -> list[torch.Tensor]:
        with Loader(index, PLAIN, batch_size=3, device="cpu", seed=5, engine="dali") as loader:
            return [batch.clips.clone() for _ in range(3) for batch in loader]

    wanted = clips()
    assert told == []
    monkeypatch.setattr(graph, "as_fed", lambda arrays, device: as_fed(arrays, CUDA))
    assert all(torch.equal(one, other) for one, other in zip(clips(), wanted, strict=True))
    assert len(told) >= 9
