"""The peers do the loader's job, and a wrong frame is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import bench_peers, workloads
from benchmarks.bench_peers import Job, job, ours, tuple_of, wrong
from benchmarks.peers import HEIGHT, PEERS, WIDTH, Peer, Pictures, every, opencv, pyav
from vidssl import VideoIndex

CLIP = workloads.Clip(name="short", kilobits=300, gop=16, bframes=2, size=(96, 128), frames=90)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    folder = tmp_path_factory.mktemp("clip")
    return workloads.repeated(workloads.encode(CLIP, folder), 2, folder / "index")


@pytest.mark.parametrize("peer", [pyav, opencv])
def test_peers_give_the_frames_that_a_sequential_decode_gives(peer: Peer, index: VideoIndex) -> None:
    path = index.video(0).path
    truth = every(path)
    assert truth.shape == (90, HEIGHT, WIDTH, 3)
    for first in (0, 7, 26):
        numbers = [first, first + 20, first + 63]
        assert np.abs(peer(str(path), numbers).astype(int) - truth[numbers]).mean() < 2.0
        # swscale knows where chroma lies in one of them
        assert np.abs(ours(index, numbers).astype(int) - truth[numbers]).mean() < 2.0
    assert wrong(lambda numbers: peer(str(path), numbers), truth, [0, 7, 26]) == "0 of 144"


def test_wrong_frames_are_counted(index: VideoIndex) -> None:
    truth = every(index.video(0).path)
    assert wrong(lambda numbers: truth[list(numbers)], truth, [3]) == "0 of 48"
    assert wrong(lambda numbers: truth[[numbers[0] + 1, *numbers[1:]]], truth, [3]) == "1 of 48"

    def fails(numbers: object) -> Pictures:
        raise RuntimeError("no such frame")

    assert wrong(fails, truth, [3, 9]) == "fails for all windows"
    answers = iter([fails, lambda numbers: truth[list(numbers)]])
    assert wrong(lambda numbers: next(answers)(numbers), truth, [3, 9]) == "0 of 48, fails for 1 of 2 windows"
    clips, _ = tuple_of(lambda path, numbers: fails(numbers), job(index, 0, 5))
    assert clips.isnan().all()


def test_a_tuple_is_the_clips_in_the_order_of_the_job(index: VideoIndex) -> None:
    one = job(index, 0, 5)
    truth = every(index.video(0).path)
    clips, seconds = tuple_of(lambda _, numbers: truth[list(numbers)], one)
    assert clips.shape == (3, 3, 16, 112, 112)
    assert seconds >= 0
    for shown, place, (y, x) in zip(clips, one.place, one.corner, strict=True):
        assert np.diff(place).tolist() == [1] * 15
        frames = torch.from_numpy(truth[[one.numbers[at] for at in place], y : y + 112, x : x + 112]).permute(
            3, 0, 1, 2
        )
        mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (workloads.MEAN, workloads.STD))
        torch.testing.assert_close(shown, (frames / 255 - mean) / std, rtol=1e-4, atol=1e-4)


def test_jobs_show_the_window(index: VideoIndex) -> None:
    seen = set()
    for sample in range(20):
        one = job(index, sample, 4)
        assert isinstance(one, Job)
        assert one.numbers == tuple(4 + n for n in (*range(16), *range(24, 40), *range(48, 64)))
        seen.add(tuple(place[0] for place in one.place))
        assert all(0 <= y <= HEIGHT - 112 and 0 <= x <= WIDTH - 112 for y, x in one.corner)
    assert len(seen) > 3


def test_every_peer_names_its_package() -> None:
    pinned = (Path(bench_peers.__file__).with_name("peers.txt")).read_text()
    constraints = (Path(__file__).parents[2] / "constraints.txt").read_text()
    for _, package in PEERS.values():
        assert f"{package}==" in pinned + constraints
