"""The demo from end to end: render, index, train, evaluate, draw."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from vidssl.demo.render import render
from vidssl.evaluate.accuracy import Accuracy, pretext_accuracy
from vidssl.evaluate.retrieval import evaluate_retrieval
from vidssl.evaluate.run import load_run, trained_model
from vidssl.evaluate.splits import make_splits
from vidssl.files import parse_json, read_text
from vidssl.index.table import VideoIndex
from vidssl.kernels.assemble import assemble
from vidssl.kernels.augment import Augment
from vidssl.kernels.plan import own_colors, plan
from vidssl.loader import Loader
from vidssl.lock import LOCK, hold
from vidssl.paths import output_path
from vidssl.plots.tuples import CELL, Ordered, draw_orders
from vidssl.pretext import PretextModel, Vcop
from vidssl.pretext.vcop import orders
from vidssl.store.frames import FrameStore
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.train import train
from vidssl.types import VidsslError
from vidssl.video.decode import decode

STEPS, EACH = 800, 28  # training steps; videos of each scene


def demo_recipe(seed: int) -> Recipe:
    """Returns VCOP with clips far apart, small pictures and a narrow R3D: two minutes of training on two cores."""
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
    settings = TrainConfig(
        epochs=100,
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
    pretext = Vcop(clip_length=8, interval=20, dropout=0.0, augment=augment)
    return Recipe(pretext=pretext, encoder="r3d_tiny", train=settings, store_size="native")


def run(out: Path, *, seed: int = 0, steps: int = STEPS, each: int = EACH) -> None:
    """Runs the demo. It writes scenes/, index.arrow, store/, run/ and order.png.

    A second call uses scenes, index and store again.

    Args:
        out: The folder for all of these.
        seed: Seed of the scenes and of the training.
        steps: Training steps.
        each: Videos of each scene.

    Raises:
        VidsslError: `out` cannot be written, another process writes to it, or it holds scenes/ or run/ that the
            demo did not make.
    """
    with hold(out / LOCK, f"demo: out={str(out)!r}"):
        _run(out, seed, steps, each)


def _run(out: Path, seed: int, steps: int, each: int) -> None:
    began = time.perf_counter()
    scenes, saved, folder = out / "scenes", out / "index.arrow", out / "run"
    _say(1, "scenes", began)
    fresh = render(scenes, seed=seed, each=each)
    _say(2, "index, and decode each video once", began)
    index, store = _index(scenes, saved, output_path(out, "store"), fresh=fresh)
    recipe = demo_recipe(seed)
    span = recipe.pretext.plan.frames
    print(index.summary(span))
    print(f"{store.bytes_of(index) / 1e6:.0f} MB of frames in {os.path.relpath(store.folder or out)}")
    _say(3, "train: in which order were three clips?", began)
    _remove_old_run(folder, recipe)
    result = train(recipe, index, folder, steps=steps, store=store)
    _say(4, "evaluate: do the nearest videos show the same scene?", began)
    trained = load_run(folder, store=store)
    table = evaluate_retrieval(trained, make_splits(recipe, trained.trained_on, index), ks=(1, 5, 10, 20))
    _say(5, "picture", began)
    model, _ = trained_model(result.checkpoint)
    _, held = recipe.train.split(index, span)
    draw_orders(show_tuples(recipe, model, held, store), out / "order.png")
    _summary(out, pretext_accuracy(model, held, store=store), table.text(), time.perf_counter() - began)


def _index(scenes: Path, saved: Path, folder: Path, *, fresh: bool) -> tuple[VideoIndex, FrameStore]:
    """Returns the index and the frames of the scenes.

    What an earlier demo saved is taken if it still describes these files (after a copy it does not).
    """
    if not fresh and saved.is_file():
        index = VideoIndex.load(saved, root=scenes)
        if index.is_current():
            store = FrameStore(folder)
            store.fill(index)
            return index, store
    if folder.is_dir():
        for path in FrameStore.paths(folder):  # frames of other files
            path.unlink()
    store = FrameStore(folder)
    index = VideoIndex.build(scenes, store=store)
    index.save(saved)
    return index, store


def show_tuples(
    recipe: Recipe, model: PretextModel, held: VideoIndex, store: FrameStore, *, count: int = 3
) -> list[Ordered]:
    """Returns held-out tuples of different scenes: the most probable correct ones, and a wrong one if there is any."""
    found: dict[tuple[str, bool], Ordered] = {}  # one of each scene, ordered right and wrong
    loading: dict[str, Any] = {"device": "cpu", "seed": recipe.train.seed, "store": store}
    with Loader(held, recipe.pretext, batch_size=16, train=False, **loading) as loader:
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
    """Returns the tuple with the same frames and crop, but larger and in its original colours."""
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


def _remove_old_run(folder: Path, recipe: Recipe) -> None:
    """Removes the run of an earlier demo. Raises VidsslError if the folder holds anything else."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    try:
        found = _settings(parse_json(read_text(folder / "run.json"))["recipe"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        found = None
    if found != _settings(json.loads(json.dumps(recipe.as_dict()))):
        raise VidsslError(
            f"demo: out={str(folder.parent)!r}: {folder.name}/ in it was not made by this demo; move it away, "
            "or take another out"
        )
    shutil.rmtree(folder)


def _settings(recipe: dict[str, Any]) -> dict[str, Any]:
    """Returns a recipe without seed and steps, in which one demo may differ from the next.

    An earlier demo had no store_size.
    """
    train = {name: value for name, value in recipe["train"].items() if name not in ("seed", "steps")}
    return {**recipe, "train": train, "store_size": None}


def _say(step: int, what: str, began: float) -> None:
    print(f"\n[{time.perf_counter() - began:5.0f} s] {step}/5 {what}", flush=True)


def _summary(out: Path, found: Accuracy, table: str, seconds: float) -> None:
    where, bin_ = os.path.relpath(out), _commands()
    chance = f"chance is {found.chance:.1%} ({found.accuracy / found.chance:.1f} x)"
    print(f"\nOrder of three clips: {found.accuracy:.1%} of {found.tuples} held-out tuples are right; {chance}.")
    print(
        "\nNearest videos of the same scene (10 clips for each video; held-out videos are looked up among the training "
        f"videos):\n{table}"
    )
    print(f"""
Done in {seconds:.0f} s. Files:
  {where}/order.png       tuples as shown, with their true and predicted order
  {where}/scenes/         the videos, one folder for each class; {where}/index.arrow describes them
  {where}/store/          their decoded frames, from which the training reads
  {where}/run/            checkpoints, metrics.jsonl, retrieval.json, retrieval.png (queries and the nearest videos)

Watch the run:      {bin_}tensorboard --logdir {where}
All on one page:    {bin_}vidssl report {where}/run --out {where}/report.html
Your own videos:    {bin_}vidssl train vcop_r3d_tiny --data FOLDER --out runs/first
Other recipes:      {bin_}vidssl recipes""")


def _commands() -> str:
    """Returns the path that the shell needs before a command of this environment; empty if PATH has its folder."""
    folder = Path(sys.executable).parent
    on_path = shutil.which("tensorboard")
    return "" if on_path and Path(on_path).parent == folder else f"{os.path.relpath(folder)}/"
