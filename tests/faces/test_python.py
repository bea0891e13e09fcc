"""The Python face: DLPack arrays of any library, zero copy, the GIL released, and errors that name the argument."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from tests.kernels.workload import SPECS, make_frames
from vidssl import VidsslError, ops
from vidssl.native import kernels


def test_importing_the_module_needs_no_torch() -> None:
    code = "import sys; import vidssl.native; assert 'torch' not in sys.modules and 'nvidia.dali' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torch_in_torch_out_equals_numpy() -> None:
    frames = make_frames(np.random.default_rng(0), 70, (60, 84), yuv=False)
    host = ops.motion(frames.data)
    given = ops.motion(torch.from_numpy(frames.data))
    assert isinstance(given.sad, torch.Tensor)
    assert np.array_equal(given.sad.numpy(), host.sad)
    plan = ops.plan(
        SPECS["clips by motion"], frames=70, size=(60, 84), seed=0, epoch=0, sample=3, sad=given.sad, thumb=given.thumb
    )
    assert isinstance(plan.frame, torch.Tensor)
    clips = ops.assemble(torch.from_numpy(frames.data), plan, size=(32, 32))
    assert isinstance(clips, torch.Tensor)
    assert np.array_equal(
        clips.numpy(), ops.assemble(frames.data, type(plan)(*(np.asarray(part) for part in plan)), size=(32, 32))
    )


def test_nothing_is_copied() -> None:
    """Outputs are written in place, through the caller's own memory."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    memory = np.zeros((2, 2, 2), dtype=np.uint32)
    thumb = torch.zeros(3, 16, 16, dtype=torch.uint8)
    kernels.motion(frames, 32, 32, memory, thumb)
    assert np.array_equal(memory, ops.motion(frames).sad)
    assert thumb.any()


def test_read_only_frames_are_read_and_read_only_outputs_refused() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    expected = ops.motion(frames).sad
    frames.flags.writeable = False
    assert np.array_equal(ops.motion(frames).sad, expected)
    sad = np.zeros((2, 2, 2), dtype=np.uint32)
    sad.flags.writeable = False
    with pytest.raises(ValueError, match=r"sad is uint32 \[2, 2, 2\] on cpu: it is read-only"):
        kernels.motion(frames, 32, 32, sad, np.zeros((3, 16, 16), dtype=np.uint8))


def test_the_gil_is_released() -> None:
    """While one thread is in a kernel, another one runs Python."""
    frames = np.zeros((2000, 240, 320), dtype=np.uint8)
    ticks, done = 0, threading.Event()

    def work() -> None:
        ops.motion(frames)
        done.set()

    worker = threading.Thread(target=work)
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    worker.start()
    while not done.is_set():
        ticks += 1
    worker.join()
    sys.setswitchinterval(switch)
    assert ticks > 1000


def test_no_array_is_held_back() -> None:
    """Borrowed arrays are given back: their reference counts do not grow."""
    frames = np.zeros((3, 32, 32, 3), dtype=np.uint8)
    before = sys.getrefcount(frames)
    for _ in range(10):
        ops.motion(frames)
        with pytest.raises(ValueError, match="sad is"):
            kernels.motion(frames, 32, 32, np.zeros(3), np.zeros(3))
    assert sys.getrefcount(frames) == before


FRAMES = np.zeros((3, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (
            FRAMES.astype(np.float32),
            r"frames is float32 \[3, 32, 32, 3\] on cpu: it must be uint8 \[any, any, any, 3\]",
        ),
        (
            FRAMES[:, :, ::2],
            r"frames is uint8 \[3, 32, 16, 3\] on cpu, strides .*: it must be C-contiguous except for its first axis",
        ),
        (np.zeros((3, 47, 32), np.uint8), r"planar YUV 4:2:0 must have 3 \* rows / 2 lines"),
        (np.zeros((3, 48, 31), np.uint8), r"planar YUV 4:2:0 must have 3 \* rows / 2 lines and even rows and cols"),
    ],
)
def test_bad_frames(frames: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ops.motion(frames)


def test_not_an_array() -> None:
    with pytest.raises(VidsslError, match="frames is a list: pass Frames, or an array"):
        ops.motion([1, 2])
    with pytest.raises(VidsslError, match="frames is a list: pass an array that supports DLPack"):
        kernels.motion([1, 2], 32, 32, None, None)


@pytest.mark.parametrize(
    ("spec", "message"),
    [("groups=1", '"bases" is missing'), ("nonsense", "is not key=value"), ("a=1 a=2", "repeats a key")],
)
def test_bad_spec_text(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernels.plan(spec, None, None, 1, 1, 1, None, None, None, 0, 0, 0, True, None, None, None, None, None, None)
