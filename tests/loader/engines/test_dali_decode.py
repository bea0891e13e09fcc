"""The graph with a decoder in it, by its CPU twin: DALI's software decoder in NVDEC's place (VP8, VP9), and CPU
decoding for the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.clips import make_clip, waves
from tests.kernels.workload import orders
from vidssl import Loader, VideoIndex, VidsslError
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.loader.engines.dali import SegmentGraph
from vidssl.loader.windows import SegmentWindow
from vidssl.types import Batch

# uint8 pictures, so that differences are grey levels.
LEVELS = Augment(resize=(40, 50), crop=(32, 32), flip=0.5, std=(1 / 255,) * 3)
PLAIN = PlanSpec(arrangements=orders(3, 4), labels=np.arange(6), bases=3, length=4, gap=(2, 2), augment=LEVELS)
MOTION = PlanSpec(
    arrangements=orders(3, 2),
    labels=np.arange(6),
    bases=3,
    length=2,
    gap=(1, 4),
    weight="motion",
    window=20,
    augment=LEVELS,
)
# The stated tolerance of NVDEC's road, in grey levels: the mean, and all but one sample in a thousand. (Real clips by
# DALI's software decoder: 0.2 and 2.6.) DALI puts chroma between the luma samples and rounds to 8 bits twice; so this
# is about pictures whose colours do not change from pixel to pixel.
MEAN, MOST = 1.5, 8.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three that the decoder takes (one by another matrix), and three that it does not."""
    root = tmp_path_factory.mktemp("videos")
    for number in range(2):
        make_clip(
            root / f"vp9_{number}.webm",
            "libvpx-vp9",
            frames=30 + 5 * number,
            gop=15,
            size=(48, 64 + 16 * number),
            show=waves,
        )
    make_clip(root / "vp9_709.webm", "libvpx-vp9", frames=30, gop=15, tags={"colorspace": 1}, show=waves)
    make_clip(
        root / "vp8.webm", "libvpx", frames=40, gop=13, options={"cpu-used": "8", "deadline": "realtime"}, show=waves
    )
    make_clip(root / "h264.mp4", frames=33, gop=12)
    make_clip(root / "odd.webm", "libvpx-vp9", frames=30, gop=15, size=(49, 67))
    return root


@pytest.fixture(scope="module")
def index(folder: Path) -> VideoIndex:
    return VideoIndex.build(folder, progress=False)


def batches(index: VideoIndex, spec: PlanSpec, epochs: int = 3, **how: Any) -> tuple[list[Batch], dict[str, Any]]:
    with Loader(index, spec, **({"batch_size": 3, "device": "cpu", "seed": 5, "workers": 2} | how)) as loader:
        found = [Batch(*(part.clone() for part in batch)) for _ in range(epochs) for batch in loader]
        return found, loader.stats


def apart(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """How far clips are apart: in the mean, and all but one sample in a thousand."""
    difference = (one - other).abs().float()
    return float(difference.mean()), float(difference.flatten().quantile(0.999))


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    """Clips in grey levels that differ only by the conversion of colours."""
    mean, most = apart(one, other)
    assert mean < MEAN
    assert most < MOST


def same_frame(one: torch.Tensor, others: torch.Tensor) -> bool:
    """Whether a picture is nearer to the one that it should be than to the frames beside it."""
    return bool((others - one).abs().flatten(1).mean(1).argmin() == 0)


@pytest.mark.parametrize("tuples", [1, 2])
@pytest.mark.parametrize("train", [True, False])
def test_frames_labels_and_plans_are_the_same(index: VideoIndex, train: bool, tuples: int) -> None:
    """All but the pixels is equal bit for bit, the pixels within the conversion of colours; where it falls back, they
    are equal too.
    """
    how: dict[str, Any] = {"train": train, "batch_size": 2 * tuples, "tuples_per_window": tuples}
    found, stats = batches(index, PLAIN, decode="dali", **how)
    wanted, _ = batches(index, PLAIN, decode="cpu", **how)
    assert stats["windows"] == 18
    assert stats["fallback"] == 6  # h264.mp4 and odd.webm, in three epochs
    assert len(found) == len(wanted) == 9
    fallback = {row for row in range(len(index)) if index.video(row).path.name in ("h264.mp4", "odd.webm")}
    for one, other in zip(found, wanted, strict=True):
        for name in ("label", "video", "frame", "status"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        for at, row in enumerate(one.video.tolist()):
            if row in fallback:
                assert torch.equal(one.clips[at], other.clips[at])
            else:
                assert not torch.equal(one.clips[at], other.clips[at])
                close(one.clips[at], other.clips[at])


def test_every_frame_is_nearest_to_its_own(index: VideoIndex) -> None:
    """A frame beside the one that was asked for would be nearer to another: what the clips show moves from frame to
    frame.
    """
    found, _ = batches(index, PLAIN, decode="dali", train=False, epochs=1)
    wanted, _ = batches(index, PLAIN, decode="cpu", train=False, epochs=1)
    for one, other in zip(found, wanted, strict=True):
        for ours, theirs in zip(one.clips, other.clips, strict=True):
            mine, clip = ours.transpose(1, 2), theirs.transpose(1, 2)  # [K, T, 3, h, w]
            for k in range(3):
                for t in range(4):
                    beside = [clip[k, t], *(clip[k, u] for u in range(4) if u != t)]
                    assert same_frame(mine[k, t], torch.stack(beside))


def test_the_video_s_matrix_is_kept(index: VideoIndex) -> None:
    """DALI converts by BT.601 whatever a file says; the map that undoes it is worth more than the tolerance."""
    row = next(row for row in range(len(index)) if index.video(row).path.name == "vp9_709.webm")
    assert index.column("color_matrix")[row].as_py() == "bt709"
    means = []
    for part in (index, _as_601(index)):
        found, _ = batches(part.select([row]), PLAIN, decode="dali", batch_size=1, epochs=4)
        wanted, _ = batches(index.select([row]), PLAIN, decode="cpu", batch_size=1, epochs=4)
        means.append(float(np.mean([(a.clips - b.clips).abs().mean() for a, b in zip(found, wanted, strict=True)])))
    assert means[0] < MEAN < 4 * MEAN < means[1]


def _as_601(index: VideoIndex) -> VideoIndex:
    import pyarrow as pa

    table = index.table
    at = table.schema.get_field_index("color_matrix")
    return VideoIndex(table.set_column(at, "color_matrix", pa.array(["smpte170m"] * len(index))), index.root)


def test_plans_by_motion_are_made_after_decoding(index: VideoIndex) -> None:
    """Motion of RGB has its own integers, near those of the planes: nothing is promised but that most plans agree, and
    all repeat.
    """
    found, _ = batches(index, MOTION, decode="dali", epochs=6)
    again, _ = batches(index, MOTION, decode="dali", epochs=6, workers=1)
    wanted, _ = batches(index, MOTION, decode="cpu", epochs=6)
    frames, planned = (torch.cat([batch.frame for batch in part]) for part in (found, wanted))
    labels = [torch.cat([batch.label for batch in part]) for part in (found, wanted)]
    assert torch.equal(labels[0], labels[1])
    assert all(
        torch.equal(a, b) for one, other in zip(found, again, strict=True) for a, b in zip(one, other, strict=True)
    )
    assert (frames == planned).all(dim=(1, 2)).float().mean() > 0.8


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_types_and_memory_orders(index: VideoIndex, dtype: Any, channels_last: bool) -> None:
    """Batches of both kinds of windows, and of one, look like those of the graph without a decoder."""
    for chosen in (index, index.select([row for row in range(len(index)) if index.video(row).codec == "vp8"] * 3)):
        found, _ = batches(chosen, PLAIN, decode="dali", dtype=dtype, channels_last=channels_last, epochs=1)
        wanted, _ = batches(
            chosen, PLAIN, decode="cpu", engine="dali", dtype=dtype, channels_last=channels_last, epochs=1
        )
        for one, other in zip(found, wanted, strict=True):
            assert one.clips.dtype == other.clips.dtype
            assert one.clips.shape == other.clips.shape
            assert one.clips.stride() == other.clips.stride()
            close(one.clips.float(), other.clips.float())


def test_the_memory_of_a_batch_stays(index: VideoIndex) -> None:
    with Loader(index, PLAIN, batch_size=3, device="cpu", seed=8, decode="dali") as loader:
        kept = [batch for _ in range(3) for batch in loader]
        copies = [batch.clips.clone() for batch in kept]
        assert all(torch.equal(batch.clips, copy) for batch, copy in zip(kept, copies, strict=True))


def spoil(monkeypatch: pytest.MonkeyPatch, victim: int) -> None:
    """Cuts off what the decoder in the graph is given of one video."""
    push = SegmentGraph.push

    def spoilt(self: SegmentGraph, windows: Sequence[SegmentWindow]) -> None:
        def spoil_one(window: SegmentWindow) -> SegmentWindow:
            if window.request.window.video != victim:
                return window
            return replace(window, segment=replace(window.segment, data=window.segment.data[:40].copy()))

        push(self, [spoil_one(window) for window in windows])

    monkeypatch.setattr(SegmentGraph, "push", spoilt)


def test_a_file_that_the_decoder_fails_on_does_not_stop_the_run(
    index: VideoIndex, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad sample throws for its whole batch: the batch comes from the CPU, and the file is not given to the decoder
    again.
    """
    victim = next(row for row in range(len(index)) if index.video(row).path.name == "vp9_0.webm")
    spoil(monkeypatch, victim)
    how: dict[str, Any] = {"epochs": 4, "batch_size": 6}
    found, stats = batches(index, PLAIN, decode="dali", **how)
    monkeypatch.undo()
    wanted, _ = batches(index, PLAIN, decode="cpu", **how)
    assert stats["replaced"] == 0
    (said,) = {record.getMessage() for record in caplog.records if record.name == "vidssl.loader.engines.dali_decode"}
    reason = r"\(.*Failed to create video decoder.{,20}\)"
    assert re.search(rf"vp9_0\.webm: DALI's software decoder cannot decode it {reason}; it is decoded on", said)
    # In every epoch h264.mp4 and odd.webm; the four that shared the first batch with the victim, or the next ones that
    # were cut already.
    assert stats["fallback"] >= 4 * 2 + 4 + 2
    for one, other in zip(found, wanted, strict=True):
        assert torch.equal(one.frame, other.frame)
        assert torch.equal(one.label, other.label)
        close(one.clips, other.clips)
    first = torch.stack([one.clips for one in found[:1]]), torch.stack([one.clips for one in wanted[:1]])
    assert torch.equal(*first)  # the batch that failed is decoded on the CPU as a whole


def test_a_decoder_that_fails_for_no_file_s_reason_stops_the_run(
    index: VideoIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: SegmentGraph) -> Any:
        if len(self._pushed or ()) > 1:
            raise RuntimeError("the decoder is gone")
        return pull(self)

    pull = SegmentGraph.pull
    monkeypatch.setattr(SegmentGraph, "pull", fail)
    with pytest.raises(VidsslError, match=r'3 batches failed.*the decoder is gone; take decode="cpu"'):
        batches(index, PLAIN, decode="dali", batch_size=6, epochs=5)


@pytest.mark.parametrize("engine", ["inline", "eager"])
def test_other_engines_have_no_decoder(index: VideoIndex, engine: Any) -> None:
    with pytest.raises(VidsslError, match=rf"engine='{engine}': decode='dali' needs \"auto\" or \"dali\""):
        Loader(index, PLAIN, batch_size=2, device="cpu", decode="dali", engine=engine)


def test_resume_goes_on_with_the_next_batch(index: VideoIndex) -> None:
    whole, _ = batches(index, PLAIN, decode="dali", batch_size=2, epochs=2)
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=5, decode="dali") as loader:
        next(iter(loader))
        state = loader.state_dict()
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=5, decode="dali", workers=1) as loader:
        loader.load_state_dict(state)
        rest = [Batch(*(part.clone() for part in batch)) for _ in range(2) for batch in loader]
    assert all(
        torch.equal(a, b) for one, other in zip(rest, whole[1:], strict=True) for a, b in zip(one, other, strict=True)
    )


def test_windows_are_counted_by_where_they_are_decoded(index: VideoIndex) -> None:
    with Loader(index, PLAIN, batch_size=6, device="cpu", decode="dali") as loader:
        assert loader.decode == "dali"
        assert loader.engine == "dali"
        for _ in loader:
            pass
        assert loader.stats["windows"] == 6
        assert loader.stats["fallback"] == 2
