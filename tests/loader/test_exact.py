"""Frames are exact: what a batch shows is, bit for bit, made of the frames of a plain sequential decode that
`Batch.frame` names.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.clips import Planes, make_clip, make_packed_avi, truth, upright
from tests.kernels.workload import EVERY_CHANGE, orders
from vidssl import FrameStore, Loader, VideoIndex, ops
from vidssl.index.lists import write_list
from vidssl.kernels.plan import PlanSpec
from vidssl.types import Frames

SHARED = Path(__file__).parents[3] / "shared" / "data" / "clips"
SPAN = 16
SPEC = PlanSpec(arrangements=orders(3, 4), labels=np.arange(6), bases=3, length=4, gap=(2, 2), augment=EVERY_CHANGE)


def pack(planes: Planes) -> npt.NDArray[np.uint8]:
    """Y, U, V as [3 * rows / 2, cols]; an odd last row or column is repeated."""
    height, width = planes[0].shape
    luma = np.pad(planes[0], ((0, height % 2), (0, width % 2)), mode="edge")
    flat = np.concatenate([luma.ravel(), planes[1].ravel(), planes[2].ravel()])
    return flat.reshape(luma.shape[0] * 3 // 2, luma.shape[1])


def count_wrong(
    source: Path, epochs: int, engine: str = "inline", store: FrameStore | None = None
) -> tuple[int, int, set[str]]:
    """(pictures checked, pictures that differ from the truth, files shown)."""
    index = VideoIndex.build(source, progress=False)
    rows = index.usable(SPAN).tolist()
    starts = {row: index.row(row)["start"] or 0 for row in rows}
    decoded = {row: truth(video.path, video.stream)[starts[row] :] for row in rows for video in [index.video(row)]}
    if store is not None:
        store.fill(index, progress=False)
    places: dict[int, int] = {}
    checked = wrong = 0
    with Loader(index, SPEC, batch_size=len(rows), device="cpu", seed=3, engine=engine, store=store) as loader:
        for epoch in range(epochs):
            for batch in loader:
                for position, (clips, row, frame) in enumerate(
                    zip(batch.clips, batch.video.tolist(), batch.frame, strict=True)
                ):
                    video = index.video(row)
                    rotation, mirror = (index.table.column(name)[row].as_py() for name in ("rotation", "mirror"))
                    numbers = np.unique(frame.numpy())
                    shown = [upright(decoded[row][number], rotation, mirror) for number in numbers]
                    frames = Frames(
                        data=np.stack([pack(planes) for planes in shown]),
                        number=numbers,
                        size=video.size,
                        space=video.space,
                    )
                    plan = ops.plan(SPEC, frames=SPAN, size=video.size, seed=3, epoch=epoch, sample=position)
                    plan = plan._replace(frame=np.searchsorted(numbers, frame.numpy()).astype(np.int32))
                    expected = ops.assemble(frames, plan, size=SPEC.augment.crop)
                    same = (clips.numpy() == expected).all(axis=(1, 3, 4))  # [K, T]
                    checked, wrong = checked + same.size, wrong + int((~same).sum())
                    places[row] = places.get(row, 0) + 1
    return checked, wrong, {index.video(row).path.name for row in places}


MADE: dict[str, Any] = {
    "bframes.mp4": (
        "libx264",
        {"options": {"x264-params": "keyint=17:min-keyint=17:scenecut=0:bframes=3:b-pyramid=normal"}},
    ),
    "late.mp4": ("libx264", {"times": [1700 + 40 * i for i in range(50)]}),
    "vfr.mkv": ("libx264", {"times": [i * 40 + (i % 5) * 9 for i in range(50)]}),
    "turned.mp4": ("libx264", {"rotation": 90.0, "size": (48, 80)}),
    "full.mp4": ("libx264", {"form": "yuvj420p", "tags": {"color_range": 2}}),
    "bframes.avi": ("mpeg4", {"bframes": 2}),
    "vp9.webm": ("libvpx-vp9", {"size": (49, 67)}),
}


@pytest.mark.parametrize("engine", ["inline", "dali", "eager"])
def test_made_clips(tmp_path: Path, engine: str) -> None:
    for name, (codec, options) in MADE.items():
        make_clip(tmp_path / name, codec, **options)
    make_packed_avi(tmp_path / "packed.avi")
    checked, wrong, names = count_wrong(tmp_path, 6, engine)
    assert names == {*MADE, "packed.avi"}
    assert (checked, wrong) == (6 * 8 * 12, 0)


@pytest.mark.parametrize("engine", ["inline", "dali", "eager"])
@pytest.mark.parametrize("stored", [False, True])
def test_segments(tmp_path: Path, engine: str, stored: bool) -> None:
    """A segment shows the frames of its file from its start on, decoded or from a store."""
    for name, (codec, options) in MADE.items():
        make_clip(tmp_path / name, codec, **options)
    segments = [(name, *part) for name in MADE for part in ((3, 20), (17, 50), (29, 47), (20, 30))]
    write_list(
        tmp_path / "l.csv", [(name, str(a), str(b)) for name, a, b in segments], ("path", "start_frame", "end_frame")
    )
    store = FrameStore(tmp_path / "store", "native") if stored else None
    checked, wrong, names = count_wrong(tmp_path / "l.csv", 4, engine, store)
    assert names == {*MADE}
    assert (checked, wrong) == (4 * 3 * len(MADE) * 12, 0)  # three of the four are long enough
    assert store is None or store.stats["misses"] == 0


@pytest.mark.skipif(not SHARED.is_dir(), reason="the optional real clips (../shared/data/clips) are not there")
def test_real_clips() -> None:
    checked, wrong, names = count_wrong(SHARED, 3)
    assert len(names) >= 30
    assert (checked, wrong) == (3 * len(names) * 12, 0)
