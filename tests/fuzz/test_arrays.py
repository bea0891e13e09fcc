"""No array and no number ends the process: hostile calls (hostile.py) in a child, so that a death is noticed and its
seed named.

More of them: python -m tests.fuzz.harness tests.fuzz.test_arrays:array 0 2000
"""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz import hostile
from tests.kernels.workload import BT601, SPECS
from vidssl import VidsslError, ops
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import PlanSpec
from vidssl.native import kernels
from vidssl.types import Plan

FRAMES = np.random.default_rng(0).integers(0, 256, (4, 48, 64), dtype=np.uint8)  # YUV 4:2:0 of 32 x 64


def array(folder: Path) -> Callable[[int], str]:
    np.seterr(all="ignore")

    def run(seed: int) -> str:
        hostile.run(seed)
        hostile.KEPT.clear()
        wrong = "; ".join(hostile.FAILED)
        hostile.FAILED.clear()
        return wrong

    return run


def test_hostile_calls_end_in_an_error_or_a_result() -> None:
    call = [sys.executable, "-X", "faulthandler", "-W", "ignore", "-m", "tests.fuzz.hostile", "0", "300"]
    child = subprocess.run(call, capture_output=True, text=True, timeout=300)
    assert child.returncode == 0, (
        f"at seed {child.stdout.split()[-1:]}: return code {child.returncode}: {child.stderr[-3000:]}"
    )


def drawn(slots: int = 2, times: int = 3) -> Plan:
    return Plan(
        frame=np.arange(slots * times, dtype=np.int32).reshape(slots, times) % 4,
        box=np.tile(np.array([1, 2, 30, 20], np.float32), (slots, times, 1)),
        flip=np.zeros(slots, np.uint8),
        color=np.tile(np.eye(3, 4, dtype=np.float32), (slots, times, 1, 1)),
        label=np.zeros((), np.int64),
        status=np.zeros((), np.int32),
    )


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("frame", [-1, 4, 2**31 - 1])
def test_a_position_that_is_none_is_named_whatever_the_threads(threads: int, frame: int) -> None:
    plan = drawn()
    plan.frame[1, 2] = frame
    with pytest.raises(VidsslError, match=f"frame={frame}: take positions in 0..3"):
        ops.assemble(FRAMES, plan, size=(8, 8), threads=threads)


@pytest.mark.parametrize("box", [(np.nan, 0, 9, 9), (0, np.inf, 9, 9), (0, 0, 0, 9), (0, 0, 9, -1), (0, 0, 1e30, 9)])
def test_a_box_that_is_none_is_named(box: tuple[float, ...]) -> None:
    plan = drawn()
    plan.box[1, 0] = box
    with pytest.raises(VidsslError, match=r"box=\(.*\): take x, y, w > 0 and h > 0"):
        ops.assemble(FRAMES, plan, size=(8, 8))


def test_colours_that_are_none_are_named() -> None:
    plan = drawn()
    plan.color[1, 0, 2, 3] = np.nan
    with pytest.raises(VidsslError, match="color=nan: take finite numbers"):
        ops.assemble(FRAMES, plan, size=(8, 8))


def test_out_may_not_share_memory_with_what_is_read() -> None:
    memory = np.zeros(100_000, np.float32)
    plan = drawn()
    plan = plan._replace(color=memory[8 : 8 + plan.color.size].reshape(plan.color.shape))
    with pytest.raises(VidsslError, match=r"out is float32 .*: it is an output, but overlaps color"):
        ops.assemble(FRAMES, plan, size=(8, 8), out=memory[: 2 * 3 * 3 * 64].reshape(2, 3, 3, 8, 8))
    thumb = FRAMES.reshape(-1)[: 4 * 256].reshape(4, 16, 16)
    with pytest.raises(VidsslError, match=r"thumb is .*overlaps frames"):
        kernels.motion(FRAMES, 32, 64, np.zeros((3, 2, 4), np.uint32), thumb)


def test_frames_backwards_are_read() -> None:
    assert np.array_equal(ops.motion(FRAMES[::-1]).thumb, ops.motion(FRAMES).thumb[::-1])


def test_a_table_that_leaves_the_pool_is_named() -> None:
    spec = SPECS["clips in a row"]
    out = ops.plan(spec, frames=90, size=(32, 64), seed=0, epoch=0, sample=0)

    def call(rows: object, labels: object, text: str = spec.text) -> None:
        kernels.plan(text, rows, labels, 90, 32, 64, None, None, None, 0, 0, 0, True, *out)

    rows = spec.arrangements.copy()
    rows[5, 2, 15] = 48
    with pytest.raises(VidsslError, match=r"arrangements=48: take pool numbers in 0..47"):
        call(rows, spec.labels)
    with pytest.raises(VidsslError, match="labels=-1: take classes of 0 or more"):
        call(spec.arrangements, spec.labels - 1)
    for old, new, message in (
        ("tries=10", "tries=2147483647", "tries=2147483647: take a whole number in 1..10000"),
        ("bases=3", "bases=65536", "bases=65536: take a whole number in 1..64"),
        ("stride=1", "stride=1000000000", "the bases take up more than"),
        ("flip=0.0", "flip=nan", "flip=nan: take a finite number"),
        ("crop=112,112", "crop=-1,112", "crop=-1: take a whole number"),
        ("limits=", "limits=0,3,1,2", "limits=3: take a whole number in 0..2"),
    ):
        assert f" {old}" in f" {spec.text}"
        with pytest.raises(VidsslError, match=message):
            call(spec.arrangements, spec.labels, spec.text.replace(old, new))


def test_products_that_pass_int32_are_refused() -> None:
    spec = PlanSpec(
        arrangements=np.array([[[0]]]),
        labels=np.array([0]),
        bases=1,
        augment=Augment(resize=(9, 2**20), crop=(9, 2**20)),
    )
    with pytest.raises(
        VidsslError, match=r"resize=\(9, 1048576\), size=\(9, 4096\): their products are more than 2147483647"
    ):
        ops.plan(spec, frames=3, size=(9, 4096), seed=0, epoch=0, sample=0)


def test_numbers_beyond_the_tables_type_are_not_wrapped() -> None:
    with pytest.raises(VidsslError, match=r"arrangements=.*4294967296"):
        PlanSpec(arrangements=np.array([[[2**32]]]), labels=np.array([0]), bases=1)
    with pytest.raises(VidsslError, match="tries=2147483647: take a whole number, at least 1, at most 10000"):
        PlanSpec(arrangements=np.array([[[0]]]), labels=np.array([0]), bases=1, tries=2**31 - 1)


def test_more_frames_than_memory_are_refused_before_it_is_taken() -> None:
    endless = np.lib.stride_tricks.as_strided(np.zeros(3, np.uint8), (2**40, 1, 1, 3), (0, 3, 3, 1))
    with pytest.raises(VidsslError, match=r"frames has shape .*: take at most 8388607 frames"):
        ops.motion(endless)


def test_planes_lie_as_they_are_read() -> None:
    """A mirrored plane would be read beyond its end."""
    plan, out = drawn(), np.zeros((2, 3, 3, 8, 8), np.float32)
    assembler = kernels.FrameAssembler(BT601.ravel().tolist(), [0.0, 0.5], *plan[:4], out)
    luma, chroma = np.zeros((32, 64), np.uint8), np.zeros((16, 32), np.uint8)
    with pytest.raises(VidsslError, match="y: its bytes are not contiguous"):
        assembler.show(0, luma[::-1, ::-1], chroma, chroma, 64, 32, 32, 64)
    with pytest.raises(VidsslError, match="u is a NoneType: pass a buffer"):
        assembler.show(0, luma, None, chroma, 64, 32, 32, 64)


def test_threads_that_share_an_assembler_give_what_one_gives() -> None:
    plan, rng = drawn(4, 8), np.random.default_rng(1)
    plan.frame[:] = np.arange(32).reshape(4, 8)
    sizes = [(32 + 16 * (i % 3), 64) for i in range(32)]  # every other one makes the filters anew
    planes = [
        (rng.integers(0, 256, size, dtype=np.uint8), rng.integers(0, 256, (size[0] // 2, 32), dtype=np.uint8))
        for size in sizes
    ]

    def show(threads: int) -> np.ndarray:
        out = np.zeros((4, 3, 8, 24, 24), np.float32)
        assembler = kernels.FrameAssembler(BT601.ravel().tolist(), [0.0, 0.5], *plan[:4], out)

        def work(share: int) -> None:
            for i in range(share, 32, threads):
                luma, chroma = planes[i]
                assembler.show(i, luma, chroma, chroma, 64, 32, *sizes[i])

        pool = [threading.Thread(target=work, args=(share,)) for share in range(threads)]
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()
        return out

    expected = show(1)
    for _ in range(10):
        assert np.array_equal(show(4), expected)
