"""plan, motion and assemble for any table, number and array (hypothesis): the right result, or a VidsslError that names
the argument.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.kernels.workload import make_frames
from vidssl import VidsslError, ops, reference
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.types import ColorSpace, InvalidArgument, Plan, as_frames

UNIT = st.floats(0, 1, width=32)
WORDS = st.integers(0, 2**64 - 1)
SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))
SCOPE = st.sampled_from(("frame", "clip", "tuple"))
# What no argument should be, whatever its type: a call may refuse it, and must say which argument it was.
JUNK = st.one_of(
    st.sampled_from(
        (None, math.nan, math.inf, -math.inf, -1, 2**31, 2**40, 2**64, 10**30, 1j, object(), float, {}, set())
    ),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.floats(),
    st.integers(),
    st.lists(st.one_of(st.integers(), st.none(), st.text(max_size=2)), max_size=4),
    st.lists(st.lists(st.integers(), max_size=3), max_size=3),
    st.tuples(st.floats(), st.integers()),
    arrays.arrays(
        st.sampled_from(("u1", "i4", "i8", "f4", "f8", "c8", "?", "U2", "M8[s]", "O")),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
)


@st.composite
def augments(draw: st.DrawFn) -> Augment:
    resize, short_side = draw(SIZES), draw(st.none() | st.integers(1, 70))
    picture = resize if short_side is None else (short_side, short_side)
    region = draw(st.none() | st.tuples(*(st.integers(1, side) for side in picture)))
    crop = tuple(draw(st.integers(1, side)) for side in region or picture)
    flip_scope = draw(st.sampled_from(("clip", "tuple")))
    spread = {name: draw(UNIT) for name in ("flip", "brightness", "contrast", "saturation", "grey", "split")}
    mean, std = (draw(st.tuples(*[st.floats(low, 2)] * 3)) for low in (-2, 0.1))
    scopes = {"crop_scope": draw(SCOPE), "flip_scope": flip_scope, "color_scope": draw(SCOPE)}
    jitter = draw(st.integers(0, 9))
    spread["hue"] = draw(UNIT) / 2
    area, aspect = (sorted((draw(ends), draw(ends))) for ends in (st.floats(0.01, 1), st.floats(1 / 64, 64)))
    cut = {"crop_area": draw(st.sampled_from((None, tuple(area)))), "crop_aspect": tuple(aspect)}
    sizes: Any = {"resize": resize, "short_side": short_side, "region": region, "crop": crop, "jitter": jitter, **cut}
    return Augment(mean=mean, std=std, **sizes, **scopes, **spread)  # type: ignore[arg-type]


@st.composite
def specs(draw: st.DrawFn) -> PlanSpec:
    groups, bases, length = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    augment = draw(augments())
    whole = augment.region or augment.surely
    grid = (draw(st.integers(1, whole[0] // augment.crop[0])), draw(st.integers(1, whole[1] // augment.crop[1])))
    pool, gap = (
        groups * bases * length * grid[0] * grid[1],
        sorted(draw(st.tuples(st.integers(0, 4), st.integers(0, 4)))),
    )
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)))
    rows = draw(arrays.arrays(np.int64, shape, elements=st.integers(0, pool - 1)))
    labels = draw(arrays.arrays(np.int64, shape[:1], elements=st.integers(0, 2**20)))
    pairs = [(i, j) for j in range(bases) for i in range(j)]
    some = st.lists(st.sampled_from(pairs), max_size=2) if pairs else st.just([])
    limits: Any = tuple(
        (*pair, *sorted(draw(st.tuples(st.integers(-3, 9), st.integers(-3, 9))))) for pair in draw(some)
    )
    spec = PlanSpec(
        arrangements=rows,
        labels=labels,
        groups=groups,
        bases=bases,
        length=length,
        stride=draw(st.integers(1, 3)),
        draw=draw(st.sampled_from(("chain", "free"))),
        gap=(gap[0], gap[1]),
        weight=draw(st.sampled_from(("uniform", "motion"))),
        limits=limits,
        distinct=tuple(draw(some)),
        distinct_min=draw(st.integers(0, 2**20)),
        tries=draw(st.integers(1, 4)),
        grid=grid,
        augment=augment,
    )
    window: Any = draw(st.sampled_from((None, "video", spec.span, spec.span + 3)))
    return dataclasses.replace(spec, window=window)


def drawn(spec: PlanSpec, data: st.DataObject, **extra: Any) -> tuple[Plan, dict[str, Any]]:
    """A plan of a spec for a random window, and the arguments that made it."""
    size, frames = data.draw(SIZES), spec.span + data.draw(st.integers(0, 9))
    film = make_frames(np.random.default_rng(data.draw(st.integers(0, 9))), frames, size, yuv=False)
    sad, thumb = ops.motion(film)
    where: dict[str, Any] = {"frames": frames, "size": size, "sad": sad, "thumb": thumb, **extra}
    where |= {"seed": data.draw(WORDS), "epoch": data.draw(st.integers(0, 2**32 - 1)), "sample": data.draw(WORDS)}
    where["train"] = data.draw(st.booleans())
    return ops.plan(spec, **where), where


@settings(max_examples=300)
@given(specs(), st.data())
def test_a_plan_is_the_references_and_stays_in_range(spec: PlanSpec, data: st.DataObject) -> None:
    plan, where = drawn(spec, data)
    expected = reference.plan(spec, **where)
    for name in ("frame", "flip", "label", "status"):
        assert np.array_equal(getattr(plan, name), getattr(expected, name)), name
    np.testing.assert_allclose(plan.box, expected.box, rtol=0, atol=0)
    np.testing.assert_allclose(plan.color, expected.color, rtol=1e-5, atol=1e-4)
    (height, width), frames = where["size"], where["frames"]
    assert plan.frame.min() >= 0
    assert plan.frame.max() < frames
    assert int(plan.label) in spec.labels
    assert int(plan.label) < spec.classes
    assert int(plan.status) in (0, 1, 2)
    x, y, w, h = np.moveaxis(plan.box, -1, 0)
    assert (w > 0).all()
    assert (h > 0).all()
    assert (x >= 0).all()
    assert (y >= 0).all()
    assert (x + w <= width * (1 + 1e-5)).all()
    assert (y + h <= height * (1 + 1e-5)).all()
    assert set(plan.flip.tolist()) <= {0, 1}


@given(specs(), st.data())
def test_a_plan_depends_on_its_arguments_alone(spec: PlanSpec, data: st.DataObject) -> None:
    plan, where = drawn(spec, data)
    ops.plan(spec, **where | {"sample": (where["sample"] + 1) % 2**64})  # what was drawn before does not matter
    again = ops.plan(dataclasses.replace(spec), **where)
    for name in plan._fields:
        assert np.array_equal(getattr(plan, name), getattr(again, name)), name


def tried(call: Callable[[], Any]) -> tuple[Any, str]:
    """The result of a call and "", or None and the text of its VidsslError."""
    try:
        return call(), ""
    except VidsslError as error:
        return None, str(error)


def fields(kind: type[Any]) -> st.SearchStrategy[str]:
    return st.sampled_from([field.name for field in dataclasses.fields(kind)])


def changed(made: Any, name: str, junk: object) -> Any:
    return dataclasses.replace(made, **{name: junk})


@settings(max_examples=300)
@given(specs(), fields(PlanSpec), JUNK, st.data())
def test_junk_in_a_table_is_refused_by_name(spec: PlanSpec, name: str, junk: object, data: st.DataObject) -> None:
    made, said = tried(lambda: changed(spec, name, junk))
    if said:
        assert said.startswith("PlanSpec: ")
        assert any(word in said for word in (name, "arrangements", "window", "labels", "bases", "limits")), said
    elif made.span < 200:  # what a table accepts, plan draws
        drawn(made, data)


@given(augments(), fields(Augment), JUNK)
def test_junk_in_augment_is_refused_by_name(augment: Augment, name: str, junk: object) -> None:
    made, said = tried(lambda: changed(augment, name, junk))
    if said:
        assert said.startswith("Augment: ")
        assert any(word in said for word in (name, "crop", "region")), said
        return
    spec = PlanSpec(arrangements=np.array([[[0]]]), labels=np.array([0]), bases=1, augment=made)
    sad = np.ones((2, 1, 1), np.uint32)
    _, said = tried(lambda: ops.plan(spec, frames=3, size=(9, 9), seed=0, epoch=0, sample=0, sad=sad))
    assert not said or "resize" in said  # a product of two sizes that are right alone


CALLS = ("spec", "frames", "size", "seed", "epoch", "sample", "train", "sad", "thumb")


@given(specs(), st.sampled_from(CALLS), JUNK, st.data())
def test_junk_in_a_call_of_plan_is_refused_by_name(
    spec: PlanSpec, name: str, junk: object, data: st.DataObject
) -> None:
    _, where = drawn(spec, data)
    where |= {"spec": spec, name: junk}
    _, said = tried(lambda: ops.plan(where.pop("spec"), **where))
    assert not said or name in said or (name in ("size", "frames") and "sad is " in said), said


@pytest.mark.parametrize("labels", [[2**40], [-1], [0.5], ["a"], [[0], [1, 2]], None, [2**70]])
def test_labels_that_are_no_classes_are_named(labels: object) -> None:
    with pytest.raises(VidsslError, match="PlanSpec: labels"):
        PlanSpec(arrangements=np.array([[[0]]]), labels=labels, bases=1)  # type: ignore[arg-type]


@st.composite
def films(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Frames of any type, of shapes that are and are not those of frames, whole and in steps."""
    kind = draw(st.sampled_from(("u1", "u1", "u1", "u1", "i1", "u2", "f4", "?", ">u2")))
    last = draw(st.sampled_from(((3,), (3,), (), (1,), (4,))))
    shape = (*draw(st.tuples(st.integers(0, 4), st.integers(0, 40), st.integers(0, 40))), *last)
    whole = np.random.default_rng(draw(st.integers(0, 9))).integers(0, 128, shape).astype(kind)
    steps = [slice(None, None, draw(st.sampled_from((1, 1, 1, 2, -1)))) for _ in shape]
    film = whole[tuple(steps)]
    return np.swapaxes(film, 1, 2) if draw(st.booleans()) and draw(st.booleans()) else film


@settings(max_examples=300)
@given(films(), st.data())
def test_any_array_gives_the_references_result_or_an_error(film: np.ndarray[Any, Any], data: st.DataObject) -> None:
    found, said = tried(lambda: ops.motion(film))
    if said:
        assert "frames" in said
        right = film.dtype == np.uint8 and film.ndim == 4 and film.shape[3] == 3 and film.size > 0
        assert not (right and film.flags.c_contiguous), f"right frames are refused: {said}"
        return
    frames = as_frames(film, "frames")
    if not len(film):
        assert (found.sad.size, found.thumb.size) == (0, 0)
        return
    expected = reference.motion(np.ascontiguousarray(film), frames.size)
    assert np.array_equal(found.sad, expected[0])
    assert np.array_equal(found.thumb, expected[1])
    plan, _ = drawn(data.draw(specs()), data)
    plan = plan._replace(frame=plan.frame % len(film))
    size = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    dtype = data.draw(st.sampled_from(("float32", "uint8")))
    layout = data.draw(st.sampled_from(("kcthw", "kthwc")))
    threads = data.draw(st.integers(1, 3))
    out = ops.assemble(frames, plan, size=size, dtype=dtype, layout=layout, threads=threads)  # type: ignore[arg-type]
    exact = reference.assemble(np.ascontiguousarray(film), frames.size, frames.space, plan, size=size)
    exact = exact if layout == "kcthw" else np.moveaxis(exact, 1, -1)
    if dtype == "uint8":
        assert np.abs(out - exact.clip(0, 255)).max() < 0.51
    else:
        scale = max(1.0, float(np.abs(plan.color).max()))
        assert np.abs(out - exact).max() < 2e-3 * scale


ARRAYS = ("frames", "plan", "size", "dtype", "layout", "out", "threads", *(f"plan.{name}" for name in Plan._fields))


@given(st.sampled_from(ARRAYS), JUNK, st.data())
def test_junk_in_a_call_of_assemble_is_refused_by_name(name: str, junk: object, data: st.DataObject) -> None:
    frames = make_frames(np.random.default_rng(0), 4, (9, 12), yuv=True)
    spec = PlanSpec(
        arrangements=np.array([[[0], [1]]]), labels=np.array([0]), bases=2, augment=Augment(resize=(9, 9), crop=(8, 8))
    )
    plan = ops.plan(spec, frames=4, size=frames.size, seed=0, epoch=0, sample=0)
    call: dict[str, Any] = {"frames": frames, "plan": plan, "size": (8, 8)}
    if name.startswith("plan."):
        call["plan"] = plan._replace(**{name.removeprefix("plan."): junk})
    else:
        call[name] = junk
    _, said = tried(lambda: ops.assemble(call.pop("frames"), call.pop("plan"), **call))
    assert not said or name.removeprefix("plan.") in said, said


@given(st.sampled_from(("data", "size", "space", "to_rgb", "chroma")), JUNK)
def test_junk_in_frames_is_refused_by_name(name: str, junk: object) -> None:
    frames = make_frames(np.random.default_rng(0), 4, (9, 12), yuv=True)
    space = {"to_rgb": frames.space.to_rgb, "chroma": frames.space.chroma}

    def call() -> object:
        if name in space:
            return ColorSpace(**{**space, name: junk})  # type: ignore[arg-type]
        return ops.motion(changed(frames, name, junk))

    _, said = tried(call)
    assert not said or name in said or (name == "data" and "frames" in said), said


def test_what_is_refused_is_a_value_error_too() -> None:
    with pytest.raises(InvalidArgument, match="frames is uint8"):
        ops.motion(np.zeros((2, 8, 8, 3), np.uint8)[:, :, ::-1])
