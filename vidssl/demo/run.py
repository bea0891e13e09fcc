"""The demo from end to end: render, index, train, evaluate, draw."""

from __future__ import annotations

import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from vidssl.demo.render import render
from vidssl.evaluate.accuracy import Accuracy, pretext_accuracy
from vidssl.evaluate.retrieval import evaluate_retrieval
from vidssl.evaluate.run import load_run, trained_model
from vidssl.evaluate.splits import make_splits
from vidssl.index.holdout import split
from vidssl.index.table import VideoIndex
from vidssl.kernels.assemble import assemble
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import own_colors, plan
from vidssl.loader import Loader
from vidssl.plots.tuples import CELL, Ordered, draw_orders
from vidssl.pretext import PretextModel, Vcop
from vidssl.pretext.vcop import orders
from vidssl.recipes.vcop import vcop_r3d_tiny
from vidssl.train.config import Recipe
from vidssl.train.train import train
from vidssl.types import VidsslError
from vidssl.video.decode import decode

STEPS, EACH = 800, 28  # training steps; videos of each scene


def demo_recipe(seed: int) -> Recipe:
    """`vcop_r3d_tiny` for scenes of 64 frames and more, for two minutes on two cores: clips further apart, smaller
    pictures.
    """
    base = vcop_r3d_tiny()
    augment = Augment(
        resize=(36, 36),
        crop=(32, 32),
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        flip=0.5,
        brightness=0.2,
        contrast=0.2,
        saturation=0.5,
        color_scope="tuple",
    )
    settings = replace(
        base.train,
        batch_size=16,
        lr=0.015,
        momentum=0.8,
        schedule="cosine",
        slotwise_bn=False,
        seed=seed,
        holdout=0.24,
        tuples_per_window=2,
        val_every=200,
        save_every=STEPS,
        log_every=50,
        amp="off",
    )
    return replace(base, pretext=Vcop(clip_length=8, interval=20, dropout=0.0, augment=augment), train=settings)


def run(out: Path, *, seed: int = 0, steps: int = STEPS, each: int = EACH) -> None:
    """Everything in OUT: scenes/, index.arrow, run/ and order.png. Scenes and index are kept for the next time.

    Raises VidsslError where OUT cannot be written, or holds what is not the demo's.
    """
    began = time.perf_counter()
    scenes, saved, folder = out / "scenes", out / "index.arrow", out / "run"
    _say(1, "scenes", began)
    fresh = render(scenes, seed=seed, each=each)
    _say(2, "index", began)
    index, recipe = _index(scenes, saved, fresh=fresh), demo_recipe(seed)
    span = recipe.pretext.plan.frames
    print(index.summary(span))
    _say(3, "train: in which order were three clips?", began)
    _clear(folder)
    result = train(recipe, index, folder, steps=steps)
    _say(4, "evaluate: are a video's neighbours of its kind?", began)
    trained = load_run(folder)
    table = evaluate_retrieval(trained, make_splits(recipe, trained.meta["data"], index), ks=(1, 5, 10, 20))
    _say(5, "picture", began)
    model, _ = trained_model(result.checkpoint)
    _, held = split(index, recipe.train.holdout, seed=recipe.train.seed, span=span)
    draw_orders(show_tuples(recipe, model, held), out / "order.png")
    _summary(out, pretext_accuracy(model, held), table.text(), time.perf_counter() - began)


def _index(scenes: Path, saved: Path, *, fresh: bool) -> VideoIndex:
    """The saved index where it still tells of these files (not so after a copy), else a new one."""
    if not fresh and saved.is_file():
        index = VideoIndex.load(saved, root=scenes)
        if index.is_current():
            return index
    index = VideoIndex.build(scenes)
    index.save(saved)
    return index


def show_tuples(recipe: Recipe, model: PretextModel, held: VideoIndex, *, count: int = 3) -> list[Ordered]:
    """Held-out tuples of different scenes: the surest right ones, and a wrong one where there is one."""
    found: dict[tuple[str, bool], Ordered] = {}  # one of each scene, ordered right and wrong
    with Loader(held, recipe.pretext, batch_size=16, device="cpu", seed=recipe.train.seed, train=False) as loader:
        for batch in loader:
            with torch.no_grad():
                chances = model(batch.clips).softmax(1)
            for chance, label, row, frame in zip(
                chances, batch.label.tolist(), batch.video.tolist(), batch.frame.numpy(), strict=True
            ):
                guess = int(chance.argmax())
                key = (held.video(row).path.parent.name, guess == label)
                if key not in found:
                    found[key] = _shown(recipe, held, row, frame, label, guess, float(chance[guess]))
    wrong = [shown for (_, good), shown in found.items() if not good][:1]
    right = sorted((shown for (_, good), shown in found.items() if good), key=lambda shown: -shown.probability)
    others = [shown for shown in right if not wrong or shown.name.split("/")[0] != wrong[0].name.split("/")[0]]
    return [*others[: count - len(wrong)], *wrong]


def _shown(
    recipe: Recipe,
    index: VideoIndex,
    row: int,
    frame: npt.NDArray[np.int64],
    label: int,
    found: int,
    probability: float,
) -> Ordered:
    """The same frames and crop again, larger and in their own colours."""
    spec, video = recipe.pretext.plan, index.video(row)
    numbers = np.unique(frame)
    frames = decode(video, numbers)
    made = plan(spec, frames=spec.frames, size=frames.size, seed=recipe.train.seed, epoch=0, sample=row, train=False)
    made = own_colors(made._replace(frame=np.searchsorted(numbers, frame).astype(np.int32)))
    clips = assemble(frames, made, size=CELL, dtype="uint8")
    table = orders(spec.slots)
    name = str(video.path.relative_to(index.root))
    return Ordered(
        name=name, clips=clips, frame=frame, true=table[label], predicted=table[found], probability=probability
    )


def _clear(folder: Path) -> None:
    """Remove the run of an earlier demo."""
    if not folder.exists():
        return
    if not (folder / "metrics.jsonl").is_file():
        raise VidsslError(
            f"demo: out={str(folder.parent)!r}: {folder.name}/ in it is not the demo's own; name another folder"
        )
    shutil.rmtree(folder)


def _say(step: int, what: str, began: float) -> None:
    print(f"\n[{time.perf_counter() - began:5.0f} s] {step}/5 {what}", flush=True)


def _summary(out: Path, found: Accuracy, table: str, seconds: float) -> None:
    where, bin_ = os.path.relpath(out), _commands()
    chance = f"chance is {found.chance:.1%} ({found.accuracy / found.chance:.1f} x)"
    print(f"\nOrder of three clips: {found.accuracy:.1%} of {found.tuples} held-out tuples right; {chance}.")
    print(f"\nNearest videos of the same scene (10 clips a video, held-out videos among the training videos):\n{table}")
    print(f"""
Done in {seconds:.0f} s. Where everything lies:
  {where}/order.png       tuples as shown, their true and their predicted order
  {where}/scenes/         the videos, a folder a class; {where}/index.arrow says what each of them is
  {where}/run/            checkpoints (encoder.safetensors), metrics.jsonl, retrieval.json, retrieval.png (queries and what is nearest)

Watch the run:      {bin_}tensorboard --logdir {where}/run
All on one page:    {bin_}vidssl report {where}/run --out {where}/report.html
Your own videos:    {bin_}vidssl train vcop_r3d_tiny --data FOLDER --out runs/first   ({bin_}vidssl recipes lists the others)""")


def _commands() -> str:
    """What to put before a command of this environment so that the shell finds it: nothing where its folder is on the
    PATH.
    """
    folder = Path(sys.executable).parent
    on_path = shutil.which("tensorboard")
    return "" if on_path and Path(on_path).parent == folder else f"{os.path.relpath(folder)}/"
