"""Writes scenes as video files, alternately H.264 in MP4 and MPEG-4 in AVI, each with its own encoder settings."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from vidssl.cpus import cpus
from vidssl.demo.scenes import SCENES, film
from vidssl.paths import atomic_write, output_path
from vidssl.prepare.encode import REPEATABLE
from vidssl.types import VidsslError

VERSION = 2  # version of the scenes; files of another version are made again
_KEY = "scenes.json"


def render(folder: Path, *, seed: int = 0, each: int = 21, progress: bool = True) -> bool:
    """Writes `each` videos of every scene to FOLDER/<scene>/<scene>_NN.{mp4,avi}.

    A video is a pure function of (seed, scene, NN). FOLDER/scenes.json is written last and records what was made.

    Args:
        folder: The folder.
        seed: Seed of all videos.
        each: Videos of each scene.
        progress: Show a progress bar.

    Returns:
        False if all videos existed already.

    Raises:
        VidsslError: The folder cannot be written, or holds files that the demo did not make.
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
            aside.write_text("{}\n")  # marks the folder as the demo's while it is incomplete
        with ThreadPoolExecutor(cpus()) as pool:
            jobs = [pool.submit(_make, path, name, number, seed) for (name, number), path in names.items()]
            for job in tqdm(
                as_completed(jobs), total=len(jobs), desc="scenes", unit="video", disable=None if progress else True
            ):
                job.result()
        with atomic_write(key) as aside:
            aside.write_text(json.dumps(wanted) + "\n")
    except (OSError, ValueError) as error:
        raise VidsslError(f"demo: out={str(folder.parent)!r}: {error}; take an out that can be written") from error
    return True


def _clear(folder: Path, key: Path) -> None:
    """Removes the videos of an earlier demo, and only those."""
    if not folder.exists():
        return
    if not key.is_file() and any(folder.iterdir()):
        raise VidsslError(
            f"demo: out={str(folder.parent)!r}: {folder.name}/ in it was not made by this demo; move it away, "
            "or take another out"
        )
    for name in SCENES:
        for path in (folder / name).glob(f"{name}_*"):
            path.unlink()


def _make(path: Path, name: str, number: int, seed: int) -> None:
    place = (seed, list(SCENES).index(name), number)
    encode(path, film(name, place), np.random.default_rng((*place, 1)))


def encode(path: Path, frames: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Writes frames uint8 [F, H, W, 3] at 25 frames/s; the file ending chooses the codec.

    Key frame interval, B-frames and quality are random, so that traces of the encoder do not reveal the time.
    """
    with atomic_write(path) as aside, av.open(str(aside), "w", format=path.suffix[1:]) as container:
        if path.suffix == ".mp4":
            options = {"preset": "veryfast", "crf": str(rng.integers(18, 27)), **REPEATABLE}
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
