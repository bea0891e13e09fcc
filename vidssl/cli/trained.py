"""Uses a trained encoder: `features` and `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from vidssl.cli.arguments import RunPath
from vidssl.cli.data import open_data, open_kept
from vidssl.evaluate.layers import Pool
from vidssl.index.summary import listed
from vidssl.paths import printable, readable
from vidssl.train.checkpoint import Which, locate
from vidssl.trained import export as write_export
from vidssl.trained import load, write_features
from vidssl.trained.encoder import is_export
from vidssl.trained.export import Format
from vidssl.trained.table import check_table


def features(
    run: RunPath,
    *,
    data: Path,
    out: Path,
    clips: int = 10,
    layer: str | None = None,
    pool: Pool = "avg",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    workers: int | None = None,
    allow_outside: bool = False,
    trust_code: bool = False,
    weights: Which = "auto",
) -> None:
    """Compute one feature for each video of a data set. A call that was interrupted goes on where it stopped.

    Args:
        run: Folder of a run, one of its checkpoints, or a folder that `vidssl export` wrote.
        data: Folder, list or index (.arrow) of videos. The index of a folder or list is kept in RUN/features.
        out: FILE.arrow, a table with the columns path, label, group and feature; or FILE.npy, the features [V, D], with
            the other columns in FILE.csv.
        clips: Clips of a video (frames, if the encoder sees single frames), evenly spaced. Their features are averaged.
        layer: Name of the layer whose output is the feature. None takes the encoder's own feature.
        pool: How a layer's output is pooled, as for `vidssl evaluate probe`.
        device: Where to compute.
        workers: Threads that decode; None takes one for each core.
        allow_outside: Accept a run or an index (.arrow) that names files outside its folder or root.
        trust_code: Import the code that builds the encoder, if it is module:function or file.py:function.
        weights: Which of a run's weights: raw, those that were trained; ema, their moving average (train --ema); auto
            takes the average if the run kept one.
    """
    check_table(out)  # before videos are indexed
    trained = load(run, allow_outside=allow_outside, trust_code=trust_code, weights=weights)
    if is_export(run):
        opened = open_data(data, None, allow_outside=allow_outside)
    else:
        opened = open_kept(data, locate(run, allow_outside=allow_outside)[0], allow_outside=allow_outside)
    if skipped := opened.skipped(trained.extent):
        print("\n".join(listed("skipped", skipped)))
    again = write_features(trained, opened, out, clips=clips, layer=layer, pool=pool, device=device, workers=workers)
    kept = f", {again} of them by an earlier call" if again else ""
    print(printable(f"wrote {out}: features of {len(opened.usable(trained.extent))} videos{kept}"))


def export(
    run: RunPath,
    *,
    out: Path,
    to: tuple[Format, ...] = ("safetensors",),
    allow_outside: bool = False,
    trust_code: bool = False,
    weights: Which = "auto",
) -> None:
    """Write a trained encoder for other programs. Each file is read again and compared with the encoder.

    Args:
        run: Folder of a run, one of its checkpoints, or a folder that `vidssl export` wrote.
        out: A new folder. It gets encoder.json, which says what the encoder's input is, and a file of each format.
        to: safetensors: weights that `vidssl.load` reads. onnx: a graph for ONNX Runtime; it needs the extra
            vidssl[onnx]. torch: a program of torch.export, which needs no vidssl.
        allow_outside: Accept a run whose links lead out of its folder.
        trust_code: Import the code that builds the encoder, if it is module:function or file.py:function.
        weights: Which of a run's weights: raw, those that were trained; ema, their moving average (train --ema); auto
            takes the average if the run kept one.
    """
    trained = load(run, allow_outside=allow_outside, trust_code=trust_code, weights=weights)
    for path, difference in write_export(trained, out, to):
        agrees = "the same features" if difference == 0 else f"features differ by {difference:.1e} of the largest value"
        print(printable(f"wrote {path}: {readable(path.stat().st_size)}; read again: {agrees}"))
