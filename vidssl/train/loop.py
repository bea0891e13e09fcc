"""The training loop: a recipe and an index in; checkpoints and a log out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vidssl.device import pick_device
from vidssl.loader import Loader
from vidssl.native import build_info
from vidssl.pretext import build_model
from vidssl.stages.index import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.config import Recipe
from vidssl.train.device import pick_amp, torch_threads
from vidssl.train.log import Log
from vidssl.train.run import Run, Stopped, TrainResult
from vidssl.train.split import fingerprint, split
from vidssl.types import VidsslError
from vidssl.versions import versions

log = logging.getLogger(__name__)

__all__ = ["Stopped", "TrainResult", "open_run", "train"]


def train(
    recipe: Recipe,
    index: VideoIndex,
    out: Path,
    *,
    steps: int | None = None,
    resume: bool = False,
    device: str = "auto",
    quiet: bool = False,
) -> TrainResult:
    """Train, or continue to train.

    out: run folder; it gets checkpoints/, tensorboard/ and metrics.jsonl. It must be new or empty unless `resume`.
    steps: where to end, in place of recipe.train.steps.
    resume: continue from the newest whole checkpoint: on a CPU with the same bits as if the run had never stopped.
    Raises VidsslError for what cannot be trained or resumed, and Stopped after Ctrl-C, when the checkpoint is written.
    """
    if steps is not None:
        recipe = replace(recipe, train=replace(recipe.train, steps=steps))
    config, pretext = recipe.train, recipe.pretext
    picked = pick_device(device)
    start = open_run(out, resume=resume)
    torch.manual_seed(config.seed)
    model = build_model(pretext, recipe.encoder, slotwise_bn=config.slotwise_bn)
    train_part, val_part = split(index, config.holdout, seed=config.seed, group=config.group, span=pretext.plan.frames)
    meta = _meta(recipe, index, amp=pick_amp(config.amp, picked))
    if start is not None:
        _check_same(start, meta)
    # A build without CUDA twins can still feed a GPU: the loader then works on the CPU, and its batches are uploaded.
    loads_on = picked if picked.type == "cpu" or build_info()["cuda"] else torch.device("cpu")
    loading: dict[str, Any] = {
        "batch_size": config.batch_size, "device": loads_on, "decode": config.decode, "seed": config.seed, "workers": config.workers,
        "dtype": "bfloat16" if meta["amp"] == "bf16" else "float32", "channels_last": True,
        "max_bad": config.max_bad, "quarantine": out / "quarantine.jsonl",
    }  # fmt: skip
    with ExitStack() as stack:
        threads = stack.enter_context(torch_threads(config.threads))
        loader = stack.enter_context(Loader(train_part, pretext, tuples_per_window=config.tuples_per_window, **loading))
        val_loader = stack.enter_context(Loader(val_part, pretext, train=False, **loading)) if len(val_part) else None
        total = config.steps if config.steps is not None else config.epochs * len(loader)
        run = Run(model.to(picked), loader, val_loader, train_part, config, out, picked, meta, total)
        if start is not None:
            run.load(start)
        book = stack.enter_context(Log(out, step=run.step, total=total, quiet=quiet))
        _announce(book, run, index, val_part, loads_on, threads, pretext.plan.frames)
        return run.fit(book)


def open_run(out: Path, *, resume: bool) -> Path | None:
    """The checkpoint to start from, or None in a new folder, which is made. Raises VidsslError for a folder that does not fit."""
    if resume:
        found = checkpoint.complete(out)
        if not found:
            raise VidsslError(f"train: resume: {str(out)!r} has no whole checkpoint; leave --resume out, or name the run's folder with out")
        for path in checkpoint.damaged(out):
            log.warning("%s is damaged and left aside; the newest whole checkpoint is %s", path, found[-1].name)
        return found[-1]
    try:
        if out.is_dir() and any(path.name != "index.arrow" for path in out.iterdir()):
            raise VidsslError(f"train: out={str(out)!r}: not empty; take another folder, or --resume to continue the run in it")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VidsslError(f"train: out={str(out)!r}: {error.strerror or error}; name a folder that can be written") from error
    return None


def _meta(recipe: Recipe, index: VideoIndex, *, amp: bool) -> dict[str, Any]:
    return {
        "recipe": recipe.as_dict(),
        "fixed": recipe.fixed(),
        "data": fingerprint(index),
        "videos": len(index),
        "amp": "bf16" if amp else "off",
        "seed": recipe.train.seed,
        "versions": versions(),
    }


def _check_same(start: Path, meta: Mapping[str, Any]) -> None:
    """Refuse to continue a run with another recipe or other videos."""
    old = checkpoint.load_meta(start)
    before, now = ({**one["fixed"], "data": f"{one['videos']} videos, fingerprint {one['data']}", "amp": one["amp"]} for one in (old, meta))
    differ = [f"{key}: {before.get(key)!r} then, {now.get(key)!r} now" for key in sorted(before | now) if before.get(key) != now.get(key)]
    if differ:
        raise VidsslError(f"train: resume: {start} was made with other settings; restore them, or take a new out: " + "; ".join(differ))


def _announce(book: Log, run: Run, index: VideoIndex, val_part: VideoIndex, loads_on: torch.device, threads: int, span: int) -> None:
    left_out = index.skipped(span)
    parameters = sum(p.numel() for p in run.model.parameters())
    lines = [
        f"device {run.device}, amp {run.meta['amp']}, {threads} CPU thread(s), loader on {loads_on}",
        f"{parameters:,} parameters, seed {run.config.seed}",
        f"{len(run.index.usable(span))} videos to train on, {len(val_part)} held out, {len(left_out)} skipped",
        *(f"  skipped: {path}: {reason}" for path, reason in left_out[:10]),
        *([f"  and {len(left_out) - 10} more"] if len(left_out) > 10 else []),
        f"steps {run.step}..{run.total}, {len(run.loader)} an epoch; tensorboard --logdir {run.out / 'tensorboard'}",
    ]
    for line in lines:
        book.say(line)
    book.text("run", "  \n".join(lines))
