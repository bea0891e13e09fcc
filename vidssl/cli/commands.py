"""The commands demo, info, index and recipes. Their docstrings are the help texts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from vidssl.cli.arguments import DataPath


def info() -> None:
    """Show versions, how this vidssl was built, and what the machine has."""
    import torch

    from vidssl.cpus import cpus
    from vidssl.native import build_info, dali_version
    from vidssl.train.compute import WIDE, pick_amp
    from vidssl.versions import versions

    cpu = torch.device("cpu")
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    lines = {
        **versions(),
        **{f"build {key}": value for key, value in build_info().items()},
        "cores": cpus(),
        "cpu amp": "bf16"
        if pick_amp("auto", cpu, 0)
        else "bf16 for wide models"
        if pick_amp("auto", cpu, WIDE)
        else "off",
        "gpu": ", ".join(gpus) or "none that torch can see",
        "dali": dali_version() or "not installed; pip install 'vidssl[dali]' adds the graph and NVDEC",
        "nvdec": _nvdec() if gpus else "none without a GPU",
    }
    for name, value in lines.items():
        print(f"{name:20s} {value}")


def _nvdec() -> str:
    """Returns the codecs that the GPU decodes, or why it decodes none."""
    import torch

    from vidssl.loader.graph_decoder import find_nvdec
    from vidssl.types import VidsslError

    try:
        return ", ".join(find_nvdec(torch.device("cuda", 0)).limits)
    except VidsslError as error:
        return f"none: {error}"


def index(
    data: DataPath,
    out: Path,
    *,
    workers: int | None = None,
    file_timeout: float = 60,
    stream: int | None = None,
    frames: str = "*",
    frame_rate: float = 25,
    store: Path | None = None,
    store_size: str | None = None,
    store_limit: str | None = None,
    engine: Literal["local", "ray"] = "local",
) -> None:
    """Index videos: decode every file once, and record its properties. A second call reads only new and changed files.

    The exit code is 1 if the store cannot be written, or its disk is full, before all frames are kept. The index is
    written all the same.

    Args:
        data: Folder of videos (the class of a video is the name of its folder; *.tar are WebDataset shards; a folder of
            numbered pictures such as img_00001.jpg is a video), or a list of videos (.csv, .txt, .tsv): with the
            columns path[,label[,group]], or on each line a path, `PATH LABEL`, or `FOLDER FRAMES LABEL` for pictures.
            Each may be a URL (s3:// or https://), and a list may name URLs.
        out: File (.arrow) to write or update. If a call is interrupted, the next one continues.
        workers: Videos at a time; None takes one for each core.
        file_timeout: Seconds that a file may take, plus one second for each MiB and each decoded frame. A file that
            takes longer is left out.
        stream: Take this one of each file's video streams, counted from 0. None takes the one that players take: the
            default one, or else the one that FFmpeg finds best.
        frames: Which pictures are frames, such as 'img_*', where a folder holds several kinds (as of optical flow).
        frame_rate: Frames per second of folders of pictures.
        store: Folder that keeps the decoded frames, so that training need not decode them again.
        store_size: Size of the kept frames: HEIGHTxWIDTH in pixels, such as 128x171, or native.
        store_limit: Most bytes of the store, such as 200GB. None: no limit.
        engine: Where the videos are decoded. local: on this machine. ray: on the nodes of a Ray cluster, which
            RAY_ADDRESS=HOST:PORT names and which see the videos under the same paths. With --store, it decodes twice.
    """
    from vidssl.cli.store_data import check_kept, open_store, say_kept, say_room
    from vidssl.index.journal import hold_journal, journal_of
    from vidssl.index.table import VideoIndex, check_replaceable
    from vidssl.types import VidsslError

    if out.suffix != ".arrow" or out.is_dir():  # before hours of decoding, not after
        raise VidsslError(f"out={str(out)!r}: an index is one Arrow file; name a FILE.arrow")
    nearest = next(folder for folder in out.absolute().parents if folder.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise VidsslError(f"out={str(out)!r}: its folder cannot be written; name a file elsewhere")
    check_replaceable(out, f"out={str(out)!r}")
    kept = open_store(store, store_size, store_limit)
    if kept is not None:
        say_room(kept)
    journal = journal_of(out)
    with hold_journal(journal):
        known = None
        if out.exists() and data.exists():  # its paths are only compared, not opened
            known = VideoIndex.load(out, root=data if data.is_dir() else data.parent, allow_outside=True)
        found = VideoIndex.build(
            data,
            known=known,
            journal=journal,
            workers=workers,
            file_timeout=file_timeout,
            stream=stream,
            frames=frames,
            frame_rate=frame_rate,
            store=kept if engine == "local" else None,
            engine=engine,
        )
        if not len(found.usable()):
            journal.unlink(missing_ok=True)
            raise VidsslError(f"data={str(data)!r}: no video can be used, so no index is written:\n{found.summary()}")
        found.save(out)
        journal.unlink(missing_ok=True)
    if kept is not None:
        kept.fill(found, workers=workers, file_timeout=file_timeout, engine=engine)  # that an earlier call read
    print(found.summary())
    old = len(found) - found.read
    gone = "" if known is None else f"; {len(known) - old} rows of the old index are gone, changed or were not read"
    print(f"wrote {out}: {found.read} videos read, {old} taken from the old index{gone}")
    if kept is not None:
        say_kept(kept, found)
        check_kept(kept, found)


def recipes() -> None:
    """List the recipes and the sources of their settings."""
    from vidssl.recipes import RECIPES

    for name, recipe in RECIPES.items():
        print(f"{name}\n    {(recipe.__doc__ or '').strip()}\n")


def demo(out: Path = Path("runs/demo"), *, seed: int = 0) -> None:
    """Render moving scenes, learn their order in time, and show what was learnt. It needs no data and no GPU.

    Args:
        out: Folder for the scenes, the run and the picture. The run of an earlier demo in it is replaced.
        seed: Seed of the scenes and the training.
    """
    from vidssl.demo import run

    run(out=out, seed=seed)
