"""From scenes to video files: h264 in MP4 and MPEG-4 in AVI, by turns, each with its own encoder settings."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from vidssl.demo.scenes import SCENES, film
from vidssl.paths import atomic_write, output_path
from vidssl.types import VidsslError

VERSION = 2  # of what the scenes look like: files of another one are made again
_KEY = "scenes.json"


def render(folder: Path, *, seed: int = 0, each: int = 21, progress: bool = True) -> bool:
    """Write `each` videos of every scene to FOLDER/<scene>/<scene>_NN.{mp4,avi}. False where they are there already.

    A video is a pure function of (seed, scene, NN). FOLDER/scenes.json, written last, says what the folder holds.
    Raises VidsslError where the folder cannot be written or holds other things.
    """
    wanted = {"version": VERSION, "seed": seed, "each": each}
    names = {
        (name, number): output_path(folder, f"{name}/{name}_{number:02d}.{('mp4', 'avi')[number % 2]}")
        for name in SCENES
        for number in range(each)
    }
    key = folder / _KEY
    try:
        if key.is_file() and json.loads(key.read_text()) == wanted and all(path.is_file() for path in names.values()):
            return False
        _clear(folder, key)
        for name in SCENES:
            (folder / name).mkdir(parents=True, exist_ok=True)
        with atomic_write(key) as aside:
            aside.write_text("{}\n")  # ours, and not whole yet
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            jobs = [pool.submit(_make, path, name, number, seed) for (name, number), path in names.items()]
            for job in tqdm(
                as_completed(jobs), total=len(jobs), desc="scenes", unit="video", disable=None if progress else True
            ):
                job.result()
        with atomic_write(key) as aside:
            aside.write_text(json.dumps(wanted) + "\n")
    except (OSError, ValueError) as error:
        raise VidsslError(
            f"demo: out={str(folder.parent)!r}: {error}; name another folder, one that can be written"
        ) from error
    return True


def _clear(folder: Path, key: Path) -> None:
    """Remove the videos of an earlier demo, and only those."""
    if not folder.exists():
        return
    if not key.is_file() and any(folder.iterdir()):
        raise VidsslError(
            f"demo: out={str(folder.parent)!r}: {folder.name}/ in it is not the demo's own; name another folder"
        )
    for name in SCENES:
        for path in (folder / name).glob(f"{name}_*"):
            path.unlink()


def _make(path: Path, name: str, number: int, seed: int) -> None:
    place = (seed, list(SCENES).index(name), number)
    encode(path, film(name, place), np.random.default_rng((*place, 1)))


def encode(path: Path, frames: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Write frames uint8 [F, H, W, 3] at 25 a second; the ending chooses the codec.

    Distance of key frames, B-frames and quality are drawn, so that no trace of the encoder tells how late a frame is.
    """
    with atomic_write(path) as aside, av.open(str(aside), "w", format=path.suffix[1:]) as container:
        if path.suffix == ".mp4":
            # x264's macroblock tree does not give the same bits twice
            options = {"preset": "veryfast", "crf": str(rng.integers(18, 27)), "x264-params": "mbtree=0"}
            stream = container.add_stream("libx264", rate=25, options=options)
        else:
            stream = container.add_stream("mpeg4", rate=25)
            stream.bit_rate = int(rng.integers(400_000, 1_000_000))
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.codec_context.thread_count = 1
        stream.codec_context.gop_size = int(rng.integers(8, 40))
        stream.codec_context.max_b_frames = int(rng.integers(0, 3))
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
