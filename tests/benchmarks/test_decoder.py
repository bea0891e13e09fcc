"""The decoder's benchmark decodes what it says it does, on a CPU by DALI's software decoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_decoder, workloads
from benchmarks.bench_decoder import SPAN, Decoder, bench_size, bench_slice, whole, windows
from tests.clips import make_clip
from vidssl import VideoIndex
from vidssl.loader.graph_decoder import SOFTWARE
from vidssl.types import VidsslError
from vidssl.video.decode import Video
from vidssl.video.segment import cut_segment


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Video:
    folder = tmp_path_factory.mktemp("clip")
    make_clip(folder / "a.webm", "libvpx-vp9", frames=90, gop=16, options={"cpu-used": "8", "auto-alt-ref": "0"})
    return VideoIndex.build(folder, progress=False).video(0)


def test_slices_and_whole_files_give_the_same_frames(video: Video) -> None:
    chosen = windows(video, 3)
    assert all(numbers[0] >= 0 and numbers[-1] < 90 and len(numbers) == SPAN for numbers in chosen)
    found = []
    for pieces in ([cut_segment(video, numbers) for numbers in chosen], [whole(video, numbers) for numbers in chosen]):
        decoder = Decoder(pieces, SOFTWARE, threads=1, batch=2)
        assert decoder() == 3 * SPAN
        decoder._pipeline.feed_input("encoded", [pieces[0].data])
        decoder._pipeline.feed_input("position", [pieces[0].position])
        found.append(np.array(decoder._pipeline.run()[0][0]))
        decoder.close()
    assert np.array_equal(found[0], found[1])


def test_results(video: Video, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    bench_size(video, SOFTWARE, count=2, threads=(1, 2), cores=1, repeats=1, out=out)
    bench_slice(video.path, repeats=1, out=out)
    threads, against, piece = map(json.loads, out.read_text().splitlines())
    assert set(threads["wall"]) == {"1 threads", "2 threads"}
    assert set(against["wall"]) == {"slices", "whole files", "PyAV, 1 threads", "cutting, 1 threads"}
    assert set(piece["wall"]) == {"cut", "open and close", "decode (PyAV)"}
    assert piece["facts"]["frames of a slice"] < 90


def test_without_nvdec_the_cpu_is_measured(video: Video, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    bench_size(video, None, count=2, threads=(1,), cores=1, repeats=1, out=out)
    (line,) = map(json.loads, out.read_text().splitlines())
    assert line["workload"].endswith("no NVDEC: against")
    assert set(line["wall"]) == {"PyAV, 1 threads", "cutting, 1 threads"}


def test_unknown_sizes_are_named() -> None:
    with pytest.raises(VidsslError, match=r"--sizes \(100,\): take some of \(240, 256, 720\)"):
        bench_decoder.main(sizes=(100,))


def test_a_clip_without_hidden_pictures(tmp_path: Path) -> None:
    clip = workloads.Clip(name="short", kilobits=90, gop=16, bframes=0, size=(48, 64), frames=70)
    workloads.encode(clip, tmp_path, codec="libvpx-vp9")
    made = VideoIndex.build(tmp_path, progress=False).video(0)
    assert made.codec == "vp9"
    assert cut_segment(made, np.arange(64)).doubt == ""
