"""The training loop: a recipe and an index in; checkpoints and a log out."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vidssl.loader import Loader
from vidssl.paths import inside, shown, written
from vidssl.pretext import build_model
from vidssl.stages.index import VideoIndex
from vidssl.train import checkpoint
from vidssl.train.bf16 import trains_in_bf16
from vidssl.train.config import Recipe, flat
from vidssl.train.device import count, loads_on, pick_amp, torch_threads
from vidssl.train.log import TIMED, Log
from vidssl.train.ranks import Ranks, ranks
from vidssl.train.run import Run, Stopped, TrainResult
from vidssl.train.split import fingerprint, split
from vidssl.train.step import Stepper
from vidssl.types import VidsslError
from vidssl.versions import versions

log = logging.getLogger(__name__)

_ALONE = Ranks(device=torch.device("cpu"))
_OF_NO_STEP = ("index.arrow", "run.json")  # what a run leaves that made no step

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
    among: Ranks | None = None,
) -> TrainResult:
    """Train, or continue to train.

    out: run folder; it gets checkpoints/, tensorboard/, metrics.jsonl and run.json. It must be new or empty unless `resume`.
    steps: where to end, in place of recipe.train.steps.
    resume: continue from the newest whole checkpoint: on a CPU with the same bits as if the run had never stopped.
    among: this process's place among others, where the caller has found it (vidssl.train.ranks); None asks torchrun, if it started this.
    Raises VidsslError for what cannot be trained or resumed, and Stopped after Ctrl-C, when the checkpoint is written.
    """
    if steps is not None:
        recipe = replace(recipe, train=replace(recipe.train, steps=steps))
    with ExitStack() as stack:
        if among is None:
            among = stack.enter_context(ranks(device))
        start = open_run(out, resume=resume, among=among)
        run, index, held, said = _set_up(recipe, index, out, start, among, stack)
        book = stack.enter_context(
            Log(out, step=run.step, total=run.total, classes=recipe.pretext.class_names, quiet=quiet, mute=not among.first)
        )  # fmt: skip
        _announce(book, run, index, held, recipe.pretext.plan.frames, said)
        try:
            return run.fit(book)
        finally:
            book.settings(flat(recipe.as_dict()), {name: value for name, value in run.metrics.items() if name not in TIMED})


def _set_up(
    recipe: Recipe, index: VideoIndex, out: Path, start: Path | None, among: Ranks, stack: ExitStack
) -> tuple[Run, VideoIndex, VideoIndex, str]:  # fmt: skip
    """The run, all videos, those held out, and where it computes."""
    config, pretext = recipe.train, recipe.pretext
    share = config.share(among.size)
    torch.manual_seed(config.seed)
    model = build_model(pretext, recipe.encoder, slotwise_bn=config.slotwise_bn, norm=config.norm)
    train_part, held = split(index, config.holdout, seed=config.seed, group=config.group, span=pretext.plan.frames)
    amp = pick_amp(config.amp, among.device, count(model))
    if amp:
        clips = share // config.accumulate * (1 if model.slotwise_bn else pretext.plan.slots)
        check = partial(trains_in_bf16, model.encoder, pretext.input, among.device, clips=clips, must=config.amp == "bf16")
        amp = among.together(check)  # the first process's answer
    meta = _meta(recipe, index, amp=amp)
    if start is not None:
        _check_same(start, meta)
    loading: dict[str, Any] = {
        "rank": among.rank, "world_size": among.size, "device": loads_on(among.device), "seed": config.seed,
        "workers": config.workers or max(1, len(os.sched_getaffinity(0)) // among.local_size),
        "dtype": "bfloat16" if meta["amp"] == "bf16" else "float32", "channels_last": True,
        "max_bad": config.max_bad, "quarantine": out / "quarantine.jsonl",
    }  # fmt: skip
    threads = stack.enter_context(torch_threads(config.threads, processes=among.local_size))
    # What "auto" measured at first holds for all processes and whenever the run goes on: the decoders' colours differ a little.
    decode: Any = config.decode if start is None else checkpoint.load_meta(start)["decode"]
    many = partial(Loader, train_part, pretext, batch_size=share, tuples_per_window=config.tuples_per_window, **loading)
    loader = many(decode=decode) if among.first else None
    meta["decode"] = decode = among.tell(loader.decode if loader is not None else decode)
    loader = stack.enter_context(loader if loader is not None else many(decode=decode))
    if start is None and among.first:
        with written(out / "run.json") as aside:
            aside.write_text(json.dumps(meta, indent=1) + "\n")
    few = min(share, -(-len(held) // among.size))  # of the held-out videos; the last processes may be left without any
    mine = len(held) > among.rank * few
    val_loader = stack.enter_context(Loader(held, pretext, batch_size=few, train=False, decode=decode, **loading)) if mine else None
    total = config.steps if config.steps is not None else config.epochs * len(loader)
    stepper = Stepper(model.to(among.device), config, among, amp=meta["amp"] == "bf16", total=total)
    run = Run(stepper, loader, val_loader, train_part, held, out, meta, names=pretext.class_names, augment=pretext.augment)
    if start is not None:
        run.load(start)
    others = f" x {among.size} processes" if among.size > 1 else ""
    return run, index, held, f"device {among.device}{others}, amp {meta['amp']}, {threads} CPU thread(s), loader on {loader.device}"


def open_run(out: Path, *, resume: bool, among: Ranks | None = None, quiet: bool = False) -> Path | None:
    """The checkpoint to start from, or None where the run begins. Raises VidsslError for a folder that does not fit.

    among: all processes get the first one's answer. quiet: damaged checkpoints are not said.
    """
    among = among or _ALONE
    again = among.restarts > 0 and (out / "run.json").is_file()  # torchrun has started it anew
    found, damaged = among.together(lambda: _open_run(out, resume=resume or again))
    if not quiet and among.first:
        instead = f"the newest whole checkpoint is {found.name}" if found else "there is no other, so the run begins anew"
        for path in damaged:
            log.warning("%s is damaged and left aside; %s", path, instead)
    return found


def _open_run(out: Path, *, resume: bool) -> tuple[Path | None, list[Path]]:
    for name in ("checkpoints", "tensorboard"):
        inside(out, name)  # said before videos are read, not when the first checkpoint is written
    if resume:
        found, damaged = checkpoint.newest(out)
        if found is None and not (out / "run.json").is_file():  # else the run was cut off before its first checkpoint
            raise VidsslError(f"train: resume: {str(out)!r} has no run in it; leave --resume out, or name the run's folder with out")
        return found, damaged
    try:
        if out.is_dir() and any(path.name not in _OF_NO_STEP for path in out.iterdir()):
            raise VidsslError(f"train: out={str(out)!r}: not empty; take another folder, or --resume to continue the run in it")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VidsslError(f"train: out={str(out)!r}: {error.strerror or error}; name a folder that can be written") from error
    return None, []


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
        mend = "restore them, or take a new out"
        if before["data"] != now["data"]:
            mend += " (the videos as they were then: --data OUT/index.arrow)"
        raise VidsslError(f"train: resume: {start} was made with other settings; {mend}: " + "; ".join(differ))


def _announce(book: Log, run: Run, index: VideoIndex, held: VideoIndex, span: int, said: str) -> None:
    left_out = index.skipped(span)
    lines = [
        said,
        f"{count(run.model):,} parameters, seed {run.config.seed}",
        f"{len(run.index.usable(span))} videos to train on, {len(held)} held out, {len(left_out)} skipped",
        *(f"  skipped: {shown(path)}: {shown(reason)}" for path, reason in left_out[:10]),
        *([f"  and {len(left_out) - 10} more"] if len(left_out) > 10 else []),
        f"steps {run.step}..{run.total}, {len(run.loader)} an epoch; tensorboard --logdir {run.out / 'tensorboard'}",
    ]
    for line in lines:
        book.say(line)
    book.text("run", "\n".join(lines))
