"""The loader: exact frames, batches that are a pure function of (seed, epoch, position), resume, and bad files."""

import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from tests.clips import make_clip
from tests.kernels.workload import EVERY_CHANGE, orders
from vidssl import FrameStore, Loader, VideoIndex, VidsslError
from vidssl.index.lists import write_list
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.loader.engines.inline import Inline
from vidssl.loader.sampler import Sampler
from vidssl.types import Batch

PLAIN = PlanSpec(
    arrangements=orders(3, 4),
    labels=np.arange(6),
    bases=3,
    length=4,
    gap=(2, 2),
    augment=Augment(resize=(40, 50), crop=(32, 32)),
)
MOTION = PlanSpec(
    arrangements=orders(3, 2),
    labels=np.arange(6),
    bases=3,
    length=2,
    gap=(1, 4),
    weight="motion",
    window=20,
    augment=EVERY_CHANGE,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for number in range(4):
        make_clip(root / f"h264_{number}.mp4", frames=30 + 5 * number, gop=12)
    make_clip(root / "mpeg4.avi", "mpeg4", frames=33, gop=10, bframes=2, size=(60, 84))
    make_clip(root / "vp9.webm", "libvpx-vp9", frames=30, gop=15, size=(49, 67))
    make_clip(root / "short.mp4", frames=9)
    return root


@pytest.fixture(scope="module")
def index(folder: Path) -> VideoIndex:
    return VideoIndex.build(folder, progress=False)


def batches(loader: Loader, epochs: int = 2) -> list[Batch]:
    return [Batch(*(part.clone() for part in batch)) for _ in range(epochs) for batch in loader]


def same(left: list[Batch], right: list[Batch]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a, b) for x, y in zip(left, right, strict=True) for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("spec", [PLAIN, MOTION], ids=["plain", "motion"])
@pytest.mark.parametrize("train", [True, False])
def test_graph_equals_eager_for_any_number_of_workers(index: VideoIndex, spec: PlanSpec, train: bool) -> None:
    found = []
    for engine, workers in (("dali", 1), ("dali", 3), ("eager", 2), ("inline", 1), ("inline", 3)):
        with Loader(
            index, spec, batch_size=2, device="cpu", seed=5, workers=workers, engine=engine, train=train
        ) as loader:
            found.append(batches(loader))
    assert all(same(found[0], other) for other in found[1:])
    assert len(found[0]) == 6


@pytest.mark.parametrize(
    ("spec", "shape"), [(PLAIN, (4, 3, 3, 4, 32, 32)), (MOTION, (4, 3, 3, 2, 32, 32))], ids=["plain", "motion"]
)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8"])
def test_fused_gives_every_type_and_layout(
    index: VideoIndex, spec: PlanSpec, shape: tuple[int, ...], dtype: Any, channels_last: bool
) -> None:
    found = []
    for engine in ("inline", "eager"):
        with Loader(
            index,
            spec,
            batch_size=4,
            tuples_per_window=2,
            device="cpu",
            dtype=dtype,
            channels_last=channels_last,
            engine=engine,
        ) as loader:
            found.append(batches(loader))
            assert loader.stats["frames"] > 0
    assert same(*found)
    assert found[0][0].clips.shape == shape


def test_memory_is_used_again_only_when_nobody_holds_its_batch(index: VideoIndex) -> None:
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=5, workers=2, engine="inline") as loader:
        held = [batch.clips for _ in range(2) for batch in loader]
        copies = [clips.clone() for clips in held]
        addresses = {clips.data_ptr() for clips in held}
        assert len(addresses) == len(held)
        parts = [clips[0, 0] for clips in held]  # a part holds the whole
        del held
        later = [batch.clips.data_ptr() for batch in loader]
        assert not addresses & set(later)
        assert all(torch.equal(part, copy[0, 0]) for part, copy in zip(parts, copies, strict=True))
        del parts
        assert addresses & {batch.clips.data_ptr() for _ in range(2) for batch in loader}


def test_fused_is_refused_where_it_cannot_serve(index: VideoIndex) -> None:
    with Loader(index, PLAIN, batch_size=2, device="cpu") as loader:
        settings = replace(loader.settings, device=torch.device("cuda", 0))
    with pytest.raises(VidsslError, match=r'engine="inline": device=cuda:0: .*take "auto"'):
        Inline(settings)


def test_fused_is_taken_on_a_cpu_where_it_is_faster(index: VideoIndex) -> None:
    """Of plans that need motion: where a store may have it."""
    store = FrameStore(None, (40, 50))
    for spec, kept, engine in (
        (PLAIN, None, "inline"),
        (PLAIN, store, "inline"),
        (MOTION, None, "dali"),
        (MOTION, store, "inline"),
    ):
        with Loader(index, spec, batch_size=2, device="cpu", store=kept) as loader:
            assert loader.engine == engine


def test_numbers_are_those_of_the_table(index: VideoIndex) -> None:
    """The frames of each slot are consecutive, and sorting the slots by the label's permutation puts them in order."""
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=2) as loader:
        seen = []
        for batch in batches(loader, 4):
            assert (batch.frame.diff(dim=2) == 1).all()
            for frame, label in zip(batch.frame, batch.label.tolist(), strict=True):
                order = PLAIN.arrangements[label][:, 0] // 4
                start = frame[:, 0].numpy()
                assert np.array_equal(np.argsort(np.argsort(start)), order)
                assert np.array_equal(np.sort(start) - start.min(), [0, 6, 12])
                seen.append((label, int(start.min())))
        assert len(set(seen)) > 6


def test_an_epoch_shows_every_video_once(index: VideoIndex) -> None:
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=2) as loader:
        first = torch.cat([batch.video for batch in loader]).tolist()
        second = torch.cat([batch.video for batch in loader]).tolist()
    assert sorted(first) == sorted(second) == index.usable(16).tolist()
    assert first != second


def test_ranks_slice_one_sequence(index: VideoIndex) -> None:
    with Loader(index, PLAIN, batch_size=4, device="cpu", seed=3) as loader:
        whole = batches(loader, 3)
    for rank in range(2):
        with Loader(index, PLAIN, batch_size=2, rank=rank, world_size=2, device="cpu", seed=3) as loader:
            part = batches(loader, 3)
        assert same(part, [Batch(*(value[2 * rank : 2 * rank + 2] for value in batch)) for batch in whole])


@pytest.mark.parametrize("spec", [PLAIN, MOTION], ids=["plain", "motion"])
def test_resume_goes_on_with_the_next_batch(index: VideoIndex, spec: PlanSpec) -> None:
    with Loader(index, spec, batch_size=2, device="cpu", seed=4) as loader:
        whole = batches(loader, 3)
    for stop in (0, 1, 3, 4, 8):
        with Loader(index, spec, batch_size=2, device="cpu", seed=4) as loader:
            steps = 0
            while steps < stop:
                for _ in loader:
                    steps += 1
                    if steps == stop:
                        break
            state = json.loads(json.dumps(loader.state_dict()))  # plain data, as a checkpoint holds it
        with Loader(index, spec, batch_size=2, device="cpu", seed=4, workers=1) as loader:
            loader.load_state_dict(state)
            rest: list[Batch] = []
            while len(rest) < len(whole) - stop:
                rest += batches(loader, 1)
        assert same(rest[: len(whole) - stop], whole[stop:])


def test_resume_with_other_data_is_refused(index: VideoIndex) -> None:
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=4) as loader:
        state = loader.state_dict()
    with (
        Loader(index, PLAIN, batch_size=2, device="cpu", seed=5) as loader,
        pytest.raises(VidsslError, match="seed: 4 then, 5 now"),
    ):
        loader.load_state_dict(state)
    other = index.select(index.usable(16)[1:])
    with (
        Loader(other, PLAIN, batch_size=2, device="cpu", seed=4) as loader,
        pytest.raises(VidsslError, match=rf"the index is another one, now with {len(other)} usable videos; load the"),
    ):
        loader.load_state_dict(state)


def test_an_epoch_that_was_left_at_its_last_batch_is_over(index: VideoIndex) -> None:
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=4) as loader:
        both = batches(loader, 2)
        loader.set_epoch(0)
        assert same(list(islice(loader, len(loader))) + batches(loader, 1), both)


def test_what_cannot_be_gone_on_with_says_so(index: VideoIndex) -> None:
    with Loader(index, PLAIN, batch_size=2, device="cpu") as loader:
        with pytest.raises(VidsslError, match=r"state=\{'x': 1\}"):
            loader.load_state_dict({"x": 1})
        for epoch in (-1, 1.5, None):
            with pytest.raises(VidsslError, match=f"epoch={epoch}"):
                loader.set_epoch(cast(int, epoch))
    with pytest.raises(VidsslError, match="this loader is closed"):
        next(iter(loader))


def test_several_tuples_of_one_window(index: VideoIndex) -> None:
    for engine, spec in (("inline", PLAIN), ("dali", PLAIN), ("eager", PLAIN), ("dali", MOTION), ("eager", MOTION)):
        with Loader(index, spec, batch_size=4, tuples_per_window=2, device="cpu", seed=6, engine=engine) as loader:
            found = batches(loader, 2)
            assert len(loader) == 3
            assert loader.stats["windows"] == 12
        for batch in found:
            assert batch.clips.shape[:2] == (4, 3)
            assert torch.equal(batch.video[::2], batch.video[1::2])
        assert any(not torch.equal(batch.clips[0], batch.clips[1]) for batch in found)


def test_evaluation_is_the_same_every_epoch_and_takes_every_video(index: VideoIndex) -> None:
    with Loader(index, PLAIN, batch_size=4, device="cpu", seed=7, train=False) as loader:
        first, second = batches(loader, 1), batches(loader, 1)
    assert same(first, second)
    assert torch.cat([batch.video for batch in first]).tolist() == index.usable(16).tolist()
    assert [len(batch.label) for batch in first] == [4, 2]


def test_batches_stay_whole_when_kept(index: VideoIndex) -> None:
    """Zero copy must not mean that a later batch is written over an earlier one."""
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=8) as loader:
        kept = [batch for _ in range(4) for batch in loader]
        copies = [batch.clips.clone() for batch in kept]
    with Loader(index, PLAIN, batch_size=2, device="cpu", seed=8) as loader:
        again = batches(loader, 4)
    assert all(
        torch.equal(batch.clips, copy) and torch.equal(copy, other.clips)
        for batch, copy, other in zip(kept, copies, again, strict=True)
    )


def test_channels_last_and_half_precision_change_only_memory(index: VideoIndex) -> None:
    def first(**options: Any) -> torch.Tensor:
        with Loader(index, PLAIN, batch_size=2, device="cpu", seed=9, **options) as loader:
            return next(iter(loader)).clips

    plain = first()
    last = first(channels_last=True)
    assert last.shape == plain.shape
    assert torch.equal(last, plain)
    assert last[0].is_contiguous(memory_format=torch.channels_last_3d)
    assert torch.equal(first(dtype="bfloat16"), plain.bfloat16())
    assert torch.equal(first(dtype=torch.float16), plain.half())


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> tuple[VideoIndex, Path]:
    """One of six videos goes bad after it was indexed."""
    root = tmp_path / "videos"
    shutil.copytree(folder, root)
    index = VideoIndex.build(root, progress=False)
    (root / "h264_1.mp4").write_bytes(b"no longer a video")
    return index, tmp_path / "quarantine.jsonl"


def test_a_bad_file_is_replaced_and_named(broken: tuple[VideoIndex, Path]) -> None:
    index, quarantine = broken
    found = []
    for workers in (1, 3):
        with Loader(index, PLAIN, batch_size=2, device="cpu", seed=1, workers=workers, quarantine=quarantine) as loader:
            found.append(batches(loader))
            assert loader.stats["corrupt_videos"] == 1
            assert loader.stats["replaced"] == 2
    assert same(*found)
    assert len(found[0]) == 6
    lines = [json.loads(line) for line in quarantine.read_text().splitlines()]
    assert {Path(line["path"]).name for line in lines} == {"h264_1.mp4"}
    assert all(line["reason"] for line in lines)


def test_too_many_bad_files_stop_the_run(broken: tuple[VideoIndex, Path]) -> None:
    index, _ = broken
    (index.video(0).path).unlink()
    with (
        Loader(index, PLAIN, batch_size=2, device="cpu", seed=1) as loader,
        pytest.raises(VidsslError, match=r"max_corrupt=0.01: 2 of 6 videos"),
    ):
        batches(loader)


def test_a_bad_file_with_many_segments_is_one_bad_video(tmp_path: Path) -> None:
    """All its segments are replaced, and the file is counted once."""
    for name in "abc":
        make_clip(tmp_path / f"{name}.mp4", frames=80)
    rows = [(f"{name}.mp4", str(first), str(first + 40)) for name in "abc" for first in range(0, 40, 8)]
    write_list(tmp_path / "l.csv", rows, ("path", "start_frame", "end_frame"))
    index = VideoIndex.build(tmp_path / "l.csv", progress=False)
    for name in ("c.mp4", "b.mp4"):
        (tmp_path / name).unlink()
        with Loader(index, PLAIN, batch_size=3, device="cpu", seed=1) as loader:
            if name == "c.mp4":
                shown = [index.video(row).path.name for batch in loader for row in batch.video.tolist()]
                assert (len(shown), set(shown)) == (15, {"a.mp4", "b.mp4"})
                assert loader.stats["corrupt_videos"] == 1
            else:
                with pytest.raises(VidsslError, match=r"max_corrupt=0.01: 2 of 3 videos"):
                    batches(loader)


def test_no_file_can_be_read(broken: tuple[VideoIndex, Path]) -> None:
    index, _ = broken
    shutil.rmtree(index.root)
    with (
        Loader(index, PLAIN, batch_size=2, device="cpu", seed=1) as loader,
        pytest.raises(VidsslError, match="none of 6 videos can be read"),
    ):
        batches(loader)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 7}, "batch_size=7 x world_size=1: an epoch has only 6 tuples"),
        ({"rank": 2, "world_size": 2}, "rank=2, world_size=2"),
        ({"workers": 0}, "workers=0"),
        ({"max_corrupt": float("nan")}, "max_corrupt=nan"),
        ({"tuples_per_window": 3}, "batch_size=2: take a multiple of tuples_per_window=3"),
        ({"device": "gpu"}, "device='gpu'"),
        ({"decode": "nvdec"}, 'decode="nvdec": device=cpu has no NVDEC'),
        ({"decode": "gpu"}, "decode='gpu'"),
        ({"engine": "other"}, "engine='other'"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": "a"}, "seed='a'"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"dtype": "float64"}, "dtype='float64'"),
        ({"index": "videos"}, "index='videos': take a VideoIndex"),
        ({"pretext": "vcop"}, "pretext='vcop': take a Pretext"),
    ],
)
def test_bad_arguments(index: VideoIndex, change: dict[str, Any], part: str) -> None:
    with pytest.raises(VidsslError) as error:
        Loader(**({"index": index, "pretext": PLAIN, "batch_size": 2, "device": "cpu"} | change))
    assert part in str(error.value)


def test_no_video_is_long_enough(index: VideoIndex) -> None:
    spec = PlanSpec(arrangements=orders(3, 16), labels=np.arange(6), bases=3, length=16, gap=(8, 8))
    with pytest.raises(VidsslError, match=r"none of its 7 videos has the 64 frames .* h264_0\.mp4: 30 frames"):
        Loader(index, spec, batch_size=2, device="cpu")


def test_what_is_left_out_is_named(index: VideoIndex) -> None:
    with Loader(index, PLAIN, batch_size=2, device="cpu") as loader:
        assert loader.skipped == [("short.mp4", "9 frames, but 16 are needed")]


def test_windows_by_motion_follow_the_index(index: VideoIndex) -> None:
    """Each first frame is drawn in proportion to the change within its window; the frames shown are those."""
    spec = replace(PLAIN, windows="motion")
    sampler = Sampler.of(index, spec, seed=3, train=True, tuples=1)
    windows = [sampler.window(epoch, position) for epoch in range(1000) for position in range(len(sampler))]
    for row in sampler.rows.tolist():
        firsts = np.bincount([w.first for w in windows if w.video == row], minlength=index.frames(row) - spec.span + 1)
        change = index.motion(row).astype(int)
        weights = np.array([change[first : first + spec.span - 1].sum() for first in range(len(firsts))])
        expected = weights / weights.sum() * firsts.sum()
        z = (((firsts - expected) ** 2 / expected).sum() - len(firsts)) / (2 * len(firsts)) ** 0.5
        assert z < 4.5
    made = []
    for workers in (1, 3):
        with Loader(index, spec, batch_size=3, device="cpu", workers=workers, seed=3) as loader:
            made.append(batches(loader, 1))
    assert same(*made)
    shown = [int(first) for batch in made[0] for first in batch.frame.flatten(1).min(1).values]
    assert shown == [w.first for w in windows[: len(shown)]]
    even = Sampler.of(index, PLAIN, seed=3, train=True, tuples=1)
    assert [even.window(0, at).video for at in range(6)] == [w.video for w in windows[:6]]
