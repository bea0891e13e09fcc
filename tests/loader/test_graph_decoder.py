"""Which videos a decoder in the graph takes, and what is chosen where there is a choice. NVDEC itself: test_gpu.py."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.clips import make_clip
from vidssl import VideoIndex, VidsslError
from vidssl.loader import choose_decoder as choosing
from vidssl.loader import graph_decoder as nvdec
from vidssl.loader.choose_decoder import choose_decoder
from vidssl.loader.graph_decoder import SOFTWARE, GraphDecoder, Limits, find_nvdec
from vidssl.video.decode import Video

NVDEC = GraphDecoder(
    device="mixed",
    limits=dict.fromkeys(("h264", "hevc", "mpeg4", "vp9"), Limits((48, 4096), (16, 4096), 65536)) | {"vp8": None},
)
CUDA = torch.device("cuda", 0)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> VideoIndex:
    root = tmp_path_factory.mktemp("videos")
    make_clip(root / "a.mp4", frames=8)
    make_clip(root / "b.webm", "libvpx-vp9", frames=8)
    return VideoIndex.build(root, progress=False)


@pytest.fixture(scope="module")
def h264(index: VideoIndex) -> Video:
    return index.video(0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, ""),
        ({"codec": "av1"}, "no av1, of h264, hevc, mpeg4, vp9, vp8"),
        ({"pixel_format": "yuv422p"}, "no yuv422p, only yuv420p"),
        ({"pixel_format": "yuv420p10le"}, "no yuv420p10le"),
        ({"full_range": True}, "no full range"),
        ({"droppable": False}, "it is damaged, and decoders hide damage in different ways"),
        ({"rotation": 90}, "stored turned"),
        ({"mirror": True}, "stored turned"),
        ({"stored_size": (240, 321)}, "321x240 is odd"),
        ({"stored_size": (16, 32)}, "32x16 is beyond 48x16 to 4096x4096"),
        ({"stored_size": (16, 34)}, "34x16 is no multiple of 16"),
        ({"stored_size": (1080, 1920)}, "1920x1080 is no multiple of 16"),  # coded as 1920 x 1088
        ({"stored_size": (256, 340), "codec": "hevc"}, "340x256 is no multiple of 16"),
        ({"stored_size": (4112, 64)}, "64x4112 is beyond"),
        ({"stored_size": (4096, 4096)}, ""),
        ({"codec": "vp8", "stored_size": (2, 2)}, ""),
    ],
)
def test_refusal(h264: Video, change: dict[str, Any], reason: str) -> None:
    found = NVDEC.refusal(replace(h264, **change))
    assert reason in found
    assert bool(found) == bool(reason)


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 1, 0], [0, 2]])
def test_sizes_that_dali_could_mix_up_are_left_to_the_cpu(
    rows: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever other videos a loader has: all loaders of a process share DALI's decoders."""
    for name, size in (("a", (122, 160)), ("b", (128, 160)), ("c", (64, 96))):
        make_clip(tmp_path / f"{name}.mp4", frames=4, size=size)
    index = VideoIndex.build(tmp_path, progress=False).select(rows)
    monkeypatch.setattr(choosing, "find_nvdec", lambda device: NVDEC)

    def choose(some: VideoIndex) -> tuple[GraphDecoder | None, str]:
        return choose_decoder("nvdec", CUDA, some, some.usable(), lambda decoder: pytest.fail("nothing to measure"))

    found, why = choose(index)
    assert found is NVDEC
    assert f"NVDEC takes {len(rows) - 1} of {len(rows)} videos" in why
    assert "160x122 is no multiple of 16; `vidssl prepare` makes videos that it takes" in why
    with pytest.raises(VidsslError, match="takes none of 1 videos looked at: 160x122 is no multiple of 16"):
        choose(index.select([rows.index(0)]))


def test_software_takes_what_dali_decodes_on_a_cpu(index: VideoIndex) -> None:
    assert [SOFTWARE.refusal(index.video(row)) for row in range(2)] == ["no h264, of vp8, vp9", ""]


def test_missing_nvdec_gives_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VidsslError, match='decode="nvdec": device=cpu has no NVDEC; take device="cuda"'):
        find_nvdec(torch.device("cpu"))
    monkeypatch.setattr(nvdec, "_LIBRARY", "libnowhere.so.1")
    with pytest.raises(
        VidsslError, match=r"libnowhere\.so\.1 is not there.*NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
    ):
        find_nvdec(CUDA)


def test_a_driver_that_is_mounted_elsewhere_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nvdec, "_LIBRARY", "libnone.so.1")
    monkeypatch.setattr(nvdec, "_MOUNTED", ("/nowhere", str(tmp_path)))
    with pytest.raises(VidsslError, match="set LD_LIBRARY_PATH to the folder that has it"):
        find_nvdec(CUDA)
    (tmp_path / "libnone.so.1").touch()
    with pytest.raises(VidsslError, match=f"it is in {tmp_path}: set LD_LIBRARY_PATH={tmp_path} before Python starts"):
        find_nvdec(CUDA)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Seconds a batch of each way of decoding; a machine with NVDEC is made believe."""
    monkeypatch.setattr(choosing, "find_nvdec", lambda device: NVDEC)
    return {"cpu": 0.1, "nvdec": 0.02}


def asked(
    decode: str, device: torch.device, index: VideoIndex, seconds: dict[str, Any], made: list[str]
) -> tuple[GraphDecoder | None, str]:
    def measure(decoder: GraphDecoder | None) -> float:
        name = "cpu" if decoder is None else "nvdec"
        made.append(name)
        return 8 / seconds[name]

    return choose_decoder(decode, device, index, np.arange(len(index)), measure)


def test_auto_takes_the_faster_and_says_why(index: VideoIndex, measured: dict[str, Any]) -> None:
    made: list[str] = []
    assert asked("auto", CUDA, index, measured, made) == (
        NVDEC,
        "400 windows/s by NVDEC, 80 by CPU; NVDEC takes 2 of 2 videos looked at",
    )
    assert made == ["cpu", "nvdec"]
    assert asked("auto", CUDA, index, {"cpu": 0.01, "nvdec": 0.02}, made) == (
        None,
        "400 windows/s by NVDEC, 800 by CPU; NVDEC takes 2 of 2 videos looked at",
    )


@pytest.mark.parametrize(
    "error", [RuntimeError("CUDA error:\n out of memory"), VidsslError("3 batches failed"), ValueError("DALI's")]
)
def test_auto_takes_the_cpu_where_nvdec_fails(
    error: Exception, index: VideoIndex, measured: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    made: list[GraphDecoder | None] = []

    def measure(decoder: GraphDecoder | None) -> float:
        made.append(decoder)
        if decoder is not None:
            raise error
        return 80.0

    with caplog.at_level(logging.WARNING, "vidssl"):
        found, why = choose_decoder("auto", CUDA, index, np.arange(len(index)), measure)
    told = " ".join(str(error).split())
    assert found is None
    assert re.fullmatch(
        rf"80 windows/s by CPU, and NVDEC failed while it was measured: {told}; NVDEC takes 2 of 2 .*", why
    )
    assert caplog.text.count(f"NVDEC failed while it was measured ({told}); videos are decoded on the CPU") == 1
    assert made == [None, NVDEC]


def test_auto_needs_no_measurement_where_there_is_no_choice(
    index: VideoIndex, measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    assert asked("auto", torch.device("cpu"), index, measured, made) == (None, "device=cpu")
    monkeypatch.setattr(choosing, "find_nvdec", lambda device: replace(NVDEC, limits={"hevc": None}))
    found, why = asked("auto", CUDA, index, measured, made)
    assert found is None
    assert "NVDEC takes none of 2 videos looked at: no h264, of hevc" in why
    assert made == []


def test_what_is_asked_for_is_taken_or_refused(index: VideoIndex, measured: dict[str, Any]) -> None:
    made: list[str] = []
    assert asked("cpu", CUDA, index, measured, made) == (None, "it was asked for")
    assert asked("nvdec", CUDA, index, measured, made)[0] == NVDEC
    why = "DALI's software decoder takes 1 of 2 videos looked at (most of the others not: no h264, of vp8, vp9)"
    assert asked("dali", torch.device("cpu"), index, measured, made) == (SOFTWARE, why)
    with pytest.raises(VidsslError, match='decode="dali": it is for device="cpu", not cuda:0'):
        asked("dali", CUDA, index, measured, made)
    with pytest.raises(
        VidsslError, match="decode='dali': DALI's software decoder takes none of 1 videos looked at: no h264"
    ):
        asked("dali", torch.device("cpu"), index.select([0]), measured, made)
    assert made == []


def test_the_log_says_what_was_chosen(index: VideoIndex, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    from tests.loader.engines.test_dali_decode import PLAIN
    from vidssl import Loader

    make_clip(tmp_path / "a.webm", "libvpx-vp9", frames=20)
    with (
        caplog.at_level(logging.INFO, "vidssl"),
        Loader(VideoIndex.build(tmp_path, progress=False), PLAIN, batch_size=1, device="cpu"),
    ):
        pass
    assert "decode=auto: cpu, because device=cpu" in caplog.text
