"""After a fork: a Loader of the parent is refused, as its threads are not there; an index and a new Loader work."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader, Dataset

from vidssl import VidsslError
from vidssl.index.table import VideoIndex
from vidssl.loader import Loader
from vidssl.train.config import Recipe
from vidssl.video.decode import decode


def in_child(work: Callable[[], str]) -> str:
    """What `work` returns in a forked process, or the error it raises."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            text = work()
        except VidsslError as error:
            text = str(error)
        os.write(write, text.encode())
        os._exit(0)
    os.close(write)
    end = time.monotonic() + 60
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child waits for ever")
        time.sleep(0.02)
    with os.fdopen(read, "rb") as file:
        return file.read().decode()


def closed(loader: Loader) -> str:
    loader.close()
    return "closed"


@pytest.mark.parametrize("used", [False, True])
def test_a_loader_of_the_parent_is_refused(used: bool, index: VideoIndex, recipe: Recipe) -> None:
    with Loader(index, recipe.pretext, batch_size=2, workers=2, device="cpu") as loader:
        if used:
            next(iter(loader))
        said = in_child(lambda: str(next(iter(loader)).label.tolist()))
        assert f"is a fork of process {os.getpid()}, and has none of its threads" in said
        assert "make the Loader after the fork" in said
        assert in_child(lambda: closed(loader)) == "closed"
        next(iter(loader))  # the parent goes on


def test_a_loader_made_in_the_child_works(index: VideoIndex, recipe: Recipe) -> None:
    def labels() -> str:
        with Loader(index, recipe.pretext, batch_size=2, workers=2, device="cpu") as loader:
            return str([batch.label.tolist() for batch in loader])

    here = labels()
    assert in_child(labels) == here


class Frames(Dataset[Any]):
    def __init__(self, index: VideoIndex) -> None:
        self.index, self.rows = index, index.usable()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int) -> Any:
        return decode(self.index.video(int(self.rows[at])), np.arange(3)).data[:, :32, :32]


@pytest.mark.parametrize("mapped", [False, True])
def test_an_index_works_in_forked_workers(mapped: bool, index: VideoIndex, tmp_path: Any) -> None:
    index.save(tmp_path / "index.arrow")
    used = VideoIndex.load(tmp_path / "index.arrow") if mapped else index
    here = [Frames(used)[at] for at in range(len(Frames(used)))]  # used before the fork
    loader = DataLoader(Frames(used), batch_size=None, num_workers=2, multiprocessing_context="fork", timeout=60)
    there = [np.asarray(item) for item in loader]
    assert all(np.array_equal(one, other) for one, other in zip(here, there, strict=True))
    assert in_child(lambda: str((used.summary(), used.labels.tolist(), used.table.num_rows))) == str(
        (used.summary(), used.labels.tolist(), used.table.num_rows)
    )
