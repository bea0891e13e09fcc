"""Hostile arrays and numbers for the kernels, seeded: `python -m tests.fuzz.hostile FIRST COUNT` runs cases FIRST ..
FIRST + COUNT - 1.

It prints each case's seed before it runs it, so that a process that dies names it. A case is a right call of which one
to three arguments were replaced; it may end well, in VidsslError or MemoryError, and in nothing else. The private
functions of vidssl.native may also raise pybind11's TypeError, for arguments of another type than their signature.
"""

from __future__ import annotations

import ctypes
import math
import sys
import threading
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from tests.kernels.workload import BT601, SPECS, make_frames
from vidssl import VidsslError, ops
from vidssl.kernels.augment import Augment
from vidssl.kernels.motion import motion_many
from vidssl.kernels.plan import PlanSpec
from vidssl.native import kernels

EXPECTED = (VidsslError, MemoryError)
_SIGNATURE = "incompatible function arguments", "incompatible constructor arguments"  # what pybind11 says
WHOLE = (
    -(2**63),
    -(2**31) - 1,
    -(2**31),
    -1,
    0,
    1,
    2,
    3,
    255,
    2**16,
    2**20 + 1,
    2**24,
    2**31 - 1,
    2**31,
    2**32,
    2**63 - 1,
    2**64,
    10**30,
)
REAL = (math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e-45, 3e38, -3e38, 1e300, 2.0**31, -(2.0**31))
Rng = np.random.Generator
KEPT: list[object] = []


class Tensor(ctypes.Structure):
    """DLTensor within DLManagedTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class Exporter:
    """An exporter that says of `array` what `change` makes of the truth."""

    def __init__(
        self, array: np.ndarray[Any, Any], change: Callable[[Tensor], None] = lambda _: None, device: object = (1, 0)
    ) -> None:
        self.array, self.device, self.shape, self.dtype = array, device, array.shape, array.dtype
        self.sizes = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
        kind = "iufc".find(array.dtype.kind)
        tensor = Tensor(
            array.ctypes.data, 1, 0, array.ndim, max(kind, 0), 8 * array.itemsize, 1, self.sizes, None, 0, None, None
        )
        change(tensor)
        self.tensor = tensor
        KEPT.append(self)  # a capsule points into it, and may outlive the call

    def __dlpack_device__(self) -> object:
        return self.device

    def __dlpack__(self, **_: Any) -> object:
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return new(ctypes.addressof(self.tensor), b"dltensor", None)


class Raises(Exporter):
    def __dlpack__(self, **_: Any) -> object:
        raise OSError("no export today")


class Gives(Exporter):
    def __dlpack__(self, **_: Any) -> object:
        return 7


def set_field(name: str, value: object) -> Callable[[Tensor], None]:
    return lambda tensor: setattr(tensor, name, value)


def bad_array(rng: Rng, array: np.ndarray[Any, Any]) -> object:
    """What looks like `array`, and is not."""
    array = array if array.ndim else array.reshape(1)
    strided = np.lib.stride_tricks.as_strided
    flat = np.zeros(array.nbytes + 16, np.uint8)
    low, high = np.full_like(array, np.iinfo(array.dtype).min if array.dtype.kind in "iu" else -1), array.copy()
    if array.dtype.kind == "f" and array.size:
        low.flat[rng.integers(array.size)] = high.flat[rng.integers(array.size)] = rng.choice(REAL)
    elif array.size:
        high.flat[rng.integers(array.size)] = np.iinfo(array.dtype).max
    locked = array.copy()
    locked.flags.writeable = False
    huge = strided(
        np.zeros(1, array.dtype),
        (*(int(rng.choice((2**23, 2**33, 2**40))) for _ in array.shape[:1]), *array.shape[1:]),
        (0,) * array.ndim,
    )
    makers: tuple[Callable[[], object], ...] = (
        lambda: locked,
        lambda: low,
        lambda: high,
        lambda: huge,
        lambda: strided(np.zeros(1, array.dtype), array.shape, (0,) * array.ndim),
        lambda: array[::-1],
        lambda: array[..., ::-1],
        lambda: array[..., ::2],
        lambda: array.T,
        lambda: array[:0],
        lambda: np.zeros((*array.shape[:-1], 0), array.dtype),
        lambda: array[None],
        lambda: np.zeros((), array.dtype),
        lambda: array.astype(rng.choice(("u1", "i2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "?"))),
        lambda: array.astype(array.dtype.newbyteorder()),
        lambda: array.astype(object),
        lambda: array.tolist(),
        lambda: None,
        lambda: flat[1 : 1 + array.nbytes].view(array.dtype).reshape(array.shape),
        lambda: array.__dlpack__(),
        lambda: Exporter(array),
        lambda: Raises(array),
        lambda: Gives(array),
        lambda: Exporter(array, device=rng.choice((7, 2))),
        lambda: Exporter(array, device=()),
        lambda: Exporter(array, device=(2, 0)),
        lambda: Exporter(array, set_field("ndim", int(rng.choice((-1, 10**6))))),
        lambda: Exporter(array, set_field("data", None)),
        lambda: Exporter(array, set_field("shape", None)),
        lambda: Exporter(array, set_field("device", int(rng.choice((0, 2, 4, 10, 13, -1))))),
        lambda: Exporter(array, set_field("lanes", 0)),
        lambda: Exporter(array, set_field("bits", 0)),
        lambda: Exporter(array, lambda tensor: tensor.shape.__setitem__(0, int(rng.choice((-1, -(2**63), 2**62))))),
    )
    return makers[rng.integers(len(makers))]()


def bad_number(rng: Rng, value: object) -> object:
    if isinstance(value, bool):
        return (None, 2, "yes")[rng.integers(3)]
    if isinstance(value, str):
        word = rng.choice(value.split(" "))
        key = word.partition("=")[0]
        new = rng.choice(
            (*map(str, WHOLE), *map(str, REAL), "", "1x", "1,2", ";;", "1,2;3", "0,0", "2147483647,2147483647", "-1,-1")
        )
        return value.replace(word, rng.choice((f"{key}={new}", key, "", f"{word} {word}")))
    if isinstance(value, list):
        new = list(value)
        new[rng.integers(len(new))] = rng.choice(REAL)
        return (rng.choice(2) and new[:-1]) or new
    return (*WHOLE, *REAL, None, "1", b"1")[rng.integers(len(WHOLE) + len(REAL) + 3)]


def replace(rng: Rng, arguments: dict[str, Any]) -> dict[str, Any]:
    """One to three arguments made hostile; or one array given twice, or part of another's memory."""
    new, arrays = dict(arguments), [name for name, value in arguments.items() if isinstance(value, np.ndarray)]
    for name in rng.choice(list(arguments), min(len(arguments), int(rng.integers(1, 4))), replace=False):
        array = isinstance(arguments[name], np.ndarray)
        new[name] = bad_array(rng, arguments[name]) if array else bad_number(rng, arguments[name])
    if rng.random() < 0.2 and len(arrays) > 1:
        one, other = rng.choice(arrays, 2, replace=False)
        size, start = arguments[one].nbytes, int(rng.choice((0, 8)))
        memory = np.zeros(start + max(size, arguments[other].nbytes), np.uint8)
        new[one] = memory[start : start + size].view(arguments[one].dtype).reshape(arguments[one].shape)
        new[other] = memory[: arguments[other].nbytes].view(arguments[other].dtype).reshape(arguments[other].shape)
    return new


def right(rng: Rng) -> dict[str, dict[str, Any]]:
    """A right call of every function, by name. (long because it lists the arguments of all of them)"""
    spec = SPECS[rng.choice(list(SPECS))]
    count, (height, width), yuv = (
        spec.span + int(rng.integers(3)),
        [(33, 47), (48, 64), (1, 1)][rng.integers(3)],
        bool(rng.integers(2)),
    )
    frames = make_frames(rng, count, (height, width), yuv)
    sad, thumb = ops.motion(frames)
    drawn = ops.plan(
        spec, frames=count, size=(height, width), seed=0, epoch=0, sample=int(rng.integers(9)), sad=sad, thumb=thumb
    )
    slots, times = drawn.frame.shape
    last, dtype = bool(rng.integers(2)), rng.choice(("float32", "float16", "uint8"))
    out = np.zeros((slots, times, 20, 24, 3) if last else (slots, 3, times, 20, 24), dtype)
    shown = {
        "to_rgb": BT601.ravel().tolist(),
        "chroma": [0.0, 0.5],
        "frame": drawn.frame,
        "box": drawn.box,
        "flip": drawn.flip,
        "color": drawn.color,
        "out": out,
        "channels_last": last,
        "used_before": bool(rng.integers(2)),
    }
    sized = {"height": height, "width": width}
    reduced = sized | {
        "chroma": [0.0, 0.5],
        "to_height": 7,
        "to_width": 10,
        "out": np.zeros((count, 12, 10), np.uint8),
    }
    parts = {name: np.empty_like(value) for name, value in drawn._asdict().items()}
    scratch = np.zeros(kernels.plan_scratch(count, height, width), np.uint64)
    spans = np.array([(0, count)] * 2, np.int64)
    many = motion_many(frames, spans)
    return {
        "motion": {"frames": frames.data, "height": height, "width": width, "sad": sad, "thumb": thumb},
        "plan": {
            "spec": spec.text,
            "arrangements": spec.arrangements.copy(),
            "labels": spec.labels.copy(),
            "frames": count,
            "height": height,
            "width": width,
            "sad": sad,
            "thumb": thumb,
            "scratch": scratch,
            "seed": 0,
            "epoch": 0,
            "sample": 1,
            "train": True,
            **parts,
        },
        "motion_many": {"frames": frames.data, "height": height, "width": width, "windows": spans, **many._asdict()},
        "plan_many": {
            "spec": spec.text,
            "arrangements": spec.arrangements.copy(),
            "labels": spec.labels.copy(),
            "windows": np.array([(count, height, width)] * 2, np.int32),
            "places": np.array([(0, 0), (count - 1, count)], np.int64),
            **many._asdict(),
            "scratch": np.zeros(2 * kernels.plan_scratch(count, height, width), np.uint64),
            "samples": np.arange(2, dtype=np.uint64),
            "seed": 0,
            "epoch": 0,
            "train": True,
            **{name: np.concatenate([np.atleast_1d(value)] * 2) for name, value in parts.items()},
        },
        "assemble": {"frames": frames.data, **sized, **shown, "threads": int(rng.integers(1, 4))},
        "FrameAssembler": shown,
        "reduce": {**reduced, "frames": make_frames(rng, count, (height, width), True).data},
        "FrameReducer": reduced,
        "random": {
            "out": np.zeros((3, 4), np.uint32),
            "seed": 1,
            "epoch": 0,
            "first": 0,
            "purpose": "order",
            "index": 0,
        },
        **({"crc32": {"data": frames.data, "start": 1}} if hasattr(kernels, "crc32") else {}),
        "plan_scratch": {"frames": count, "height": height, "width": width},
    }


def bad_plane(rng: Rng, plane: np.ndarray[Any, Any]) -> object:
    return (
        plane,
        plane,
        plane[:, ::-1],
        plane[::2],
        plane[:0],
        bytes(plane),
        bytearray(3),
        None,
        plane[0, 0],
        memoryview(cast(Any, plane))[::-1],
    )[rng.integers(10)]


def show_planes(rng: Rng, call: Callable[..., Any], size: tuple[int, ...]) -> None:
    """Hostile planes to an assembler or a reducer that three threads share."""
    luma, chroma = np.zeros((48, 64), np.uint8), np.zeros((24, 32), np.uint8)
    calls = [
        (
            int(rng.integers(-1, 9)),
            bad_plane(rng, luma),
            bad_plane(rng, chroma),
            bad_plane(rng, chroma),
            *(value if rng.random() < 0.8 else bad_number(rng, value) for value in (64, 32, *size)),
        )
        for _ in range(6)
    ]

    def work(share: int) -> None:
        for arguments in calls[share:] + calls[:share]:
            attempt(call, *arguments)

    threads = [threading.Thread(target=work, args=(share,)) for share in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


FAILED: list[str] = []


def attempt(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return call(*arguments, **named)
    except EXPECTED:
        return None
    except TypeError as error:
        if not any(said in str(error) for said in _SIGNATURE):
            FAILED.append(f"{type(error).__name__}: {error}")
        return None
    except Exception as error:  # which is what is looked for
        FAILED.append(f"{type(error).__name__}: {error}")
        return None


def readable(rng: Rng, calls: dict[str, dict[str, Any]]) -> None:
    """The functions of vidssl.ops, and the tables."""
    data = bad_array(rng, calls["motion"]["frames"])
    attempt(ops.motion, data)
    spec = SPECS["clips by motion"]
    some = replace(rng, {"frames": 40, "size": 9, "seed": 0, "epoch": 0, "sample": 0})
    size = (some.pop("size"), int(rng.choice((-1, 0, 9))))
    attempt(ops.plan, spec, size=size, sad=bad_array(rng, calls["plan"]["sad"]), **some)
    table = replace(rng, {"bases": 3, "length": 4, "stride": 2, "tries": 3, "distinct_min": 0, "groups": 1})
    attempt(PlanSpec, arrangements=bad_array(rng, spec.arrangements), labels=spec.labels, **table)
    real = replace(rng, {"flip": 0.5, "brightness": 0.1, "grey": 0.0, "jitter": 2})
    made = attempt(Augment, mean=(float(rng.choice(REAL)), 0.0, 0.0), **real)
    if made is not None:
        attempt(
            lambda: ops.plan(
                PlanSpec(arrangements=np.array([[[0]]]), labels=np.array([0]), bases=1, augment=made),
                frames=3,
                size=(9, 9),
                seed=0,
                epoch=0,
                sample=0,
            )
        )
    held = calls["assemble"]
    drawn = ops.plan(spec, frames=30, size=(20, 20), seed=0, epoch=0, sample=0, sad=np.ones((29, 2, 2), np.uint32))
    field = rng.choice(drawn._fields)
    hostile = drawn._replace(**{field: bad_array(rng, getattr(drawn, field))})
    attempt(ops.assemble, held["frames"], hostile, size=(8, 8), threads=int(rng.choice((1, 2, 2**31))))


def run(seed: int) -> None:
    rng = np.random.default_rng(seed)
    calls = right(rng)
    name = rng.choice([*calls, "ops"])
    if name == "ops":
        return readable(rng, calls)
    made = attempt(getattr(kernels, name), **replace(rng, calls[name]))
    if name == "FrameAssembler":
        show_planes(rng, (made or kernels.FrameAssembler(**calls[name])).show, (48, 64))
    if name == "FrameReducer":
        show_planes(rng, (made or kernels.FrameReducer(**calls[name])).reduce, ())


def main(first: int, count: int) -> int:
    np.seterr(all="ignore")
    for seed in range(first, first + count):
        print(seed, flush=True)
        run(seed)
        KEPT.clear()
        if FAILED:
            print(f"seed {seed}: {FAILED}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
