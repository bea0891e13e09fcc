"""The DALI face gives the same bits as the Python face."""

from typing import Any, cast

import numpy as np
import pytest
from nvidia.dali import fn as dali_fn
from nvidia.dali.pipeline import Pipeline

from tests.kernels.workload import SPECS, make_frames
from vidssl import ops
from vidssl.native import load_plugin
from vidssl.types import Frames

fn: Any = dali_fn  # its operators come into being when plugins are loaded


def source_of(frames: Frames) -> np.ndarray[Any, Any]:
    return np.array([*frames.size, *frames.space.chroma, *frames.space.to_rgb.ravel()], dtype=np.float32)


def run(samples: list[Frames], name: str, places: list[tuple[int, int]], **options: Any) -> list[list[Any]]:
    """motion -> plan -> assemble over a batch: for each output, an array a sample."""
    load_plugin()
    spec = SPECS[name]
    pipeline = Pipeline(batch_size=len(samples), num_threads=2, device_id=None, prefetch_queue_depth=1)
    with pipeline:
        data, source, place = (fn.external_source(name=part, batch=True) for part in ("data", "source", "place"))
        sad, thumb = fn.vidssl.motion(data, source=source)
        frame, box, flip, color, label, status = fn.vidssl.plan(
            sad,
            thumb,
            source=source,
            place=place,
            plan=spec.text,
            arrangements=spec.arrangements.ravel().tolist(),
            labels=spec.labels.tolist(),
            plan_seed=11,
        )
        clips = fn.vidssl.assemble(
            data, frame, box, flip, color, source=source, size=list(spec.augment.crop), **options
        )
        pipeline.set_outputs(sad, thumb, frame, box, flip, color, label, status, clips)
    pipeline.build()
    pipeline.feed_input("data", [frames.data for frames in samples])
    pipeline.feed_input("source", [source_of(frames) for frames in samples])
    pipeline.feed_input("place", [np.array(place, dtype=np.int64) for place in places])
    return [[np.array(part[i]) for i in range(len(samples))] for part in pipeline.run()]


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("yuv", [True, False])
def test_equals_the_python_face(name: str, yuv: bool) -> None:
    spec, rng = SPECS[name], np.random.default_rng(8)
    samples = [
        make_frames(rng, spec.span + extra, size, yuv) for extra, size in ((4, (60, 84)), (9, (33, 47)), (0, (48, 48)))
    ]
    places = [(2, 5), (2, 2**40), (3, 0)]
    outputs = run(samples, name, places)
    for i, (frames, (epoch, sample)) in enumerate(zip(samples, places, strict=True)):
        sad, thumb = ops.motion(frames)
        plan = ops.plan(
            spec, frames=len(frames.number), size=frames.size, seed=11, epoch=epoch, sample=sample, sad=sad, thumb=thumb
        )
        clips = ops.assemble(frames, plan, size=spec.augment.crop)
        for found, expected in zip((output[i] for output in outputs), (sad, thumb, *plan, clips), strict=True):
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
@pytest.mark.parametrize("last", [False, True])
def test_types_and_layouts(dtype: str, last: bool) -> None:
    name = "clips, free gaps"
    frames = make_frames(np.random.default_rng(9), 60, (60, 84), yuv=True)
    clips = run([frames], name, [(0, 1)], output_type=dtype, channels_last=last)[-1][0]
    plan = ops.plan(SPECS[name], frames=60, size=frames.size, seed=11, epoch=0, sample=1)
    expected = ops.assemble(frames, plan, size=(32, 32), dtype=cast(Any, dtype), layout="kthwc" if last else "kcthw")
    assert np.array_equal(clips, expected)


def test_a_wrong_source_is_named() -> None:
    frames = make_frames(np.random.default_rng(9), 60, (60, 84), yuv=True)
    wrong = Frames(data=frames.data, number=frames.number, size=(61, 84), space=frames.space)
    with pytest.raises(ValueError, match="picture 61 x 84 does not fit into the stored 60 x 84"):
        run([wrong], "clips, free gaps", [(0, 0)])


def test_a_plan_that_shows_what_is_not_there_is_an_error_of_the_graph() -> None:
    load_plugin()
    frames = make_frames(np.random.default_rng(9), 3, (60, 84), yuv=True)
    box, color = np.array([[[0, 0, 9, 9]]], np.float32), np.eye(3, 4, dtype=np.float32)[None, None]
    for frame, shown, message in (
        (3, box, r"frame=3: take positions in 0\.\.2"),
        (0, box - 9, r"box=\(.*\): take x, y, w > 0"),
    ):
        plan = (np.array([[frame]], np.int32), shown, np.zeros(1, np.uint8), color)
        pipeline = Pipeline(batch_size=1, num_threads=2, device_id=None, prefetch_queue_depth=1)
        with pipeline:
            parts = [fn.external_source([[part]], batch=True) for part in (frames.data, *plan)]
            pipeline.set_outputs(
                fn.vidssl.assemble(*parts, source=fn.external_source([[source_of(frames)]], batch=True), size=[8, 8])
            )
        pipeline.build()
        with pytest.raises((ValueError, RuntimeError), match=message):
            pipeline.run()


def test_tables_and_pictures_that_are_none_are_errors_of_the_graph() -> None:
    frames = make_frames(np.random.default_rng(9), 60, (60, 84), yuv=True)
    for height in (np.nan, -1.0, 1e30, 7.5):
        wrong = Frames(data=frames.data, number=frames.number, size=cast(Any, (height, 84)), space=frames.space)
        with pytest.raises(ValueError, match=r"source: sample 0 has height=.*: take a whole number in 1\.\."):
            run([wrong], "clips, free gaps", [(0, 0)])
    with pytest.raises(ValueError, match="epoch=-1: take 0 <= epoch"):
        run([frames], "clips, free gaps", [(-1, 0)])
