"""Fine-tuning: the encoder is trained further with labels, under a new linear layer, and tested as published.

Sources: VCOP (Xu et al., CVPR 2019, and the authors' code): 150 epochs of one random clip per video, SGD with a
constant learning rate of 1e-3, weight decay 5e-4, 8 clips a step, and the weights with the lowest validation loss;
tested on 10 clips per video, whose answers are averaged. Encoders of single frames are tested on 25 frames per video,
each with ten crops (corners and centre, and mirrored), as OPN's authors describe. Papers differ in how long these
train; here it is as for VCOP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from vidssl.device import pick_device
from vidssl.evaluate.classifier import Classifier, Labelled
from vidssl.evaluate.confidence import Estimate, name_ids, proportion
from vidssl.evaluate.features import extract
from vidssl.evaluate.probe import LARGEST_CLASS, Predictions, majority_fraction
from vidssl.evaluate.result import Result
from vidssl.evaluate.run import TrainedRun, View, check_crop, untrained_encoder
from vidssl.evaluate.splits import NOT_KNOWN, Splits, split_name
from vidssl.index.classes import sort_classes
from vidssl.kernels.plan import PlanSpec
from vidssl.models import Encoder
from vidssl.paths import output_path
from vidssl.pretext import Objective, OddOneOut, Pretext, SlotModel, build_model
from vidssl.settings import Settings
from vidssl.train import checkpoint
from vidssl.train.config import Recipe, TrainConfig
from vidssl.train.distributed import ProcessGroup
from vidssl.train.hold import hold_run
from vidssl.train.init import Transfer, of_checkpoint, read_weights, transfer
from vidssl.train.optimizer import layer_factors
from vidssl.train.recorded import CommandText
from vidssl.train.setup import Task, fit, open_run
from vidssl.train.trainer import TrainResult
from vidssl.types import VidsslError

FINETUNE = CommandText("finetune", "the folder of this fine-tuning, ", "move it away")
PUBLISHED_SELECT: dict[str, Literal["best", "last"]] = {"vcop": "best"}  # as in its authors' code


@dataclass(frozen=True, kw_only=True)
class FineTune(Settings, owner="finetune"):
    """How to fine-tune and to test.

    Args:
        init: First weights of the encoder: "checkpoint" takes those of the run's checkpoint, and "scratch" random ones
            of the run's seed. A path takes those of another run, of a checkpoint, of a folder that `vidssl export`
            wrote, of a .safetensors file, or of a state dict of torch.
        fresh: Names of parts of the encoder that do not take these weights, such as "dense" (the fully connected layers
            of a CaffeNet) or "convs.conv1". From scratch, no part does.
        encoder: Name of the encoder that is fine-tuned; None takes the run's. Its weights are matched by name.
        input: What the encoder sees: "task", as in the run, or "frame", single RGB frames instead of the stacks or sums
            of Odd-One-Out.
        freeze: Names of parts of the encoder that keep their weights and running statistics, such as "stem stages.0
            stages.1".
        select: Which weights are tested: the last ones, or those with the lowest validation loss (best). None takes
            the best for VCOP, as its authors do, and the last for the other methods.
        clips: Clips per video that the test averages; None takes 10, or 25 frames if the encoder sees single frames.
        crops: Crops of each clip in the test: its centre, or ten (corners and centre, and mirrored). None takes the
            centre, or ten if the encoder sees single frames.
        flip: Probability of mirroring a training clip.
        resize: Height and width to which the picture is resized; None takes the recipe's.
        crop: Height and width cut out of it; None takes the recipe's.
        train: How to train. With tuples_per_window > 1, a window gives that many clips of the same frames with
            different crops. norm has to be the run's. slotwise_bn and sync_bn have no effect, because a tuple is one
            clip and one process trains. With ema, the moving average is validated and tested.
    """

    init: str = "checkpoint"
    fresh: tuple[str, ...] = ()
    encoder: str | None = None
    input: Literal["task", "frame"] = "task"
    freeze: tuple[str, ...] = ()
    select: Literal["last", "best"] | None = None
    clips: int | None = None
    crops: Literal["centre", "ten"] | None = None
    flip: float = 0.0
    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    train: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=150, holdout=0.084, save_every=1000))

    def __post_init__(self) -> None:
        View(clips=1 if self.clips is None else self.clips)  # refuses others before anything is trained

    @property
    def start(self) -> str:
        """ "checkpoint", "scratch", or "init" for the weights of a path."""
        return self.init if self.init in ("checkpoint", "scratch") else "init"


def evaluate_finetune(
    run: TrainedRun,
    data: Splits,
    how: FineTune,
    *,
    resume: bool = False,
    device: str = "auto",
    out: Path | None = None,
    quiet: bool = False,
    meta: Mapping[str, Any] | None = None,
) -> Result:
    """Trains on the training videos and tests on the test videos. The new run is in RUN/finetune/<init>, or in
    RUN/finetune/<init>_split<N> for an official split.

    Args:
        run: The run whose encoder is fine-tuned.
        data: The videos to train on and those to test on.
        how: How to train and to test.
        resume: Continue the run that is in RUN/finetune/<init>.
        device: "auto", "cpu", "cuda" or "cuda:N".
        out: JSON file of the result; None writes RUN/finetune.json, RUN/finetune_scratch.json or
            RUN/finetune_from_<init>.json.
        quiet: Print nothing.
        meta: What run.json and meta.json also say, such as where the videos are.

    Returns:
        The result of the test.

    Raises:
        VidsslError: Labels are missing; no training video has the class of a test video; leave_group_out would need
            many trainings; settings do not fit the run; the folder is in use, or its run cannot be resumed with these
            settings.
        Stopped: Ctrl-C, SIGTERM or SIGUSR1 stopped the training, after a checkpoint was written.
    """
    if data.leave_group_out:
        raise VidsslError(
            "finetune: leave_group_out=True would train once for each group; name the test videos with test"
        )
    data = replace(data, seen=NOT_KNOWN) if how.start == "init" else data  # what other weights have seen is not known
    folder = finetune_folder(run.folder, how, data.number)
    classes = _classes(data, folder if resume else None)
    select = _select(run, how)
    task = _task(run, how, classes, majority_fraction(data.train.column("label").to_pylist()), meta)
    alone = ProcessGroup(device=pick_device(device))
    with hold_run(folder, resume=resume, command=FINETUNE):
        start = open_finetuned(folder, resume=resume)
        result = fit(task, data.train, folder, start=start, process_group=alone, quiet=quiet)
    path = _selected(result, select)
    model = task.build()
    tested = checkpoint.pick_weights(path, "auto")
    checkpoint.load_into(model.encoder, path, "encoder", tested)
    checkpoint.load_into(model.head, path, "head", tested)
    trained = {
        "steps": result.step,
        "checkpoint": str(path),
        "tested_step": int(checkpoint.load_meta(path, "step")["step"]),
        "select": select,
        "weights": checkpoint.load_meta(path).get("init"),
    }
    return _test(run, data, how, model.to(alone.device), task.recipe, classes, trained, tested, out, quiet)


def finetune_folder(run: Path, how: FineTune, number: int | None = None) -> Path:
    """Returns the folder of the fine-tuned run in a run's folder, on the official split `number` if there is one."""
    return output_path(run, f"finetune/{split_name(_start_name(how), number)}")


def _start_name(how: FineTune) -> str:
    """The name of the first weights in the names of files: checkpoint, scratch, from_RUN or from_RUN_CHECKPOINT."""
    if how.start != "init":
        return how.start
    place = Path(how.init).resolve()
    parts = [place.parents[1].name, place.name] if place.parent.name == "checkpoints" else [place.name]
    return "_".join(["from", *(re.sub(r"[^\w.-]+", "_", part) for part in parts)])


def open_finetuned(folder: Path, *, resume: bool) -> Path | None:
    """Opens the folder of a fine-tuned run, as vidssl.train.setup.open_run does."""
    return open_run(folder, resume=resume, command=FINETUNE)


def check_first_weights(run: TrainedRun, how: FineTune) -> None:
    """Raises VidsslError if the encoder cannot begin with these weights, or has no layers for layer_decay; nothing is
    trained.
    """
    recipe = _recipe(run.recipe, how)
    with torch.device("meta"):
        encoder = build_model(recipe.pretext, recipe.encoder, **recipe.train.built).encoder
    layer_factors(encoder, how.train.layer_decay)
    if how.start != "scratch":
        _begin(run, recipe, how, encoder)


def _select(run: TrainedRun, how: FineTune) -> Literal["last", "best"]:
    """Which weights are tested."""
    if how.select == "best" and not how.train.holdout:
        raise VidsslError(
            "finetune: select='best': holdout=0 leaves no videos to validate on; take holdout > 0, or select=last"
        )
    return how.select or (PUBLISHED_SELECT.get(run.recipe.pretext.name, "last") if how.train.holdout else "last")


def _selected(result: TrainResult, select: str) -> Path:
    """The checkpoint that is tested."""
    if select == "last":
        return result.checkpoint
    if result.best is None:
        raise VidsslError(
            "finetune: select='best': no validation gave a finite loss; "
            "take select=last, a lower lr, or a larger holdout"
        )
    return checkpoint.find(result.best)


def _task(run: TrainedRun, how: FineTune, classes: list[str], chance: float, meta: Mapping[str, Any] | None) -> Task:
    """The training task. chance: the share of the largest class."""
    recipe = _recipe(run.recipe, how)
    return Task(
        recipe=recipe,
        plan=_spec(recipe),
        build=partial(_build, recipe, how, len(classes)),
        init=partial(_begin, run, recipe, how),
        objectives=(Objective("", classes, chance),),
        fixed={
            "finetune": {
                "init": how.init,
                "fresh": how.fresh or None,  # None as in runs that were begun before there was this setting
                "freeze": how.freeze,
                "classes": classes,
                "data": run.meta["data"],
                "step": run.step,
                "weights": "ema" if run.weights == "ema" else None,  # None as in runs that were begun before
            }
        },
        meta={**(meta or {}), "classes": classes, "finetune": asdict(how)},
        loader=partial(Labelled, classes=classes, store=run.store),
        command=FINETUNE,
        head_alone=True,
    )


def _build(recipe: Recipe, how: FineTune, classes: int) -> Classifier:
    encoder = build_model(recipe.pretext, recipe.encoder, **recipe.train.built).encoder  # checks the clips' size
    return Classifier(encoder, recipe.pretext.encode, classes, how.freeze)


def _begin(run: TrainedRun, recipe: Recipe, how: FineTune, encoder: Encoder) -> Transfer:
    """Gives a new encoder its first weights."""
    if how.start == "scratch":
        seeded = replace(recipe, train=replace(recipe.train, seed=run.recipe.train.seed))
        encoder.load_state_dict(untrained_encoder(seeded).state_dict())
        return Transfer("scratch", fresh=tuple(encoder.state_dict()))
    weights = (
        of_checkpoint(run.path, run.weights)
        if how.start == "checkpoint"
        else read_weights(Path(how.init), command="finetune")
    )
    return transfer(encoder, weights, fresh=how.fresh, command="finetune")


def _test(
    run: TrainedRun,
    data: Splits,
    how: FineTune,
    model: SlotModel,
    recipe: Recipe,
    classes: list[str],
    trained: dict[str, Any],
    tested: Literal["ema", "raw"],
    out: Path | None,
    quiet: bool,
) -> Result:
    single = recipe.pretext.input[1] == 1
    weights_of = trained["weights"]  # None in a run that was begun before they were written down
    clips = how.clips or (25 if single else 10)
    view = View(clips=clips)
    crops = how.crops or ("ten" if single else "centre")
    device = next(model.parameters()).device
    logits = extract(
        [nn.Sequential(model.encoder, model.head)],
        data.test,
        view.of(recipe, crops=crops, store=run.store),
        device=device,
        progress=not quiet,
    )[0]
    answers = Predictions(
        logits.feature.argmax(1), torch.tensor([classes.index(str(name)) for name in logits.label]), classes
    )
    (group,) = name_ids(logits.groups())
    views = f"{clips} {'frames' if single else 'clips'} x {10 if crops == 'ten' else 1} crop(s)"
    weights = f"the last weights (step {trained['tested_step']})"
    if trained["select"] == "best":
        weights = f"the weights with the lowest validation loss (step {trained['tested_step']} of {trained['steps']})"
    result = Result(
        kind=data.named("finetune" if how.start == "checkpoint" else f"finetune_{_start_name(how)}"),
        protocol=f"trained with labels from {how.init}; {weights}, tested on {views} a video, answers averaged "
        "(as VCOP and OPN test)",
        numbers={
            "from scratch" if how.start == "scratch" else "fine-tuned": {
                "accuracy": proportion(answers.correct, group)
            },
            "chance": {"accuracy": Estimate(majority_fraction(logits.label))},
        },
        split=data.description,
        counts={"training videos": len(data.train), "test videos": len(logits.label), "classes": len(classes)},
        weights=tested,
        settings={**asdict(how), "clips": clips, "crops": crops, **trained},
        notes=(
            *(
                line.strip()[:1].upper() + line.strip()[1:] + "."
                for line in (Transfer(**weights_of).lines() if weights_of else ())
            ),
            f"Frozen: {', '.join(how.freeze) or 'nothing'}. "
            f"{len(data.test) - len(logits.label)} test videos too short.",
            *data.copies_note(),
            data.seen.note(len(data.test)),
            *view.notes(recipe),
            LARGEST_CLASS,
        ),
        detail={"confusion": {how.init: answers.table()}},
    )
    result.publish(run, data.data(), out=out)
    return result


def _classes(data: Splits, resumed: Path | None) -> list[str]:
    """The classes in the order of the head's outputs. A run that is resumed keeps its own order."""
    labels, test = (part.column("label").to_pylist() for part in (data.train, data.test))
    if None in labels or None in test:
        raise VidsslError(
            "finetune: label: some videos have none; give labels as a .csv with the columns path,label[,group]"
        )
    if unknown := sorted(set(test) - set(labels)):
        raise VidsslError(
            f"finetune: test: {len(unknown)} classes, such as {unknown[0]!r}, are not among the training videos"
        )
    classes = sort_classes(labels)
    with suppress(OSError, ValueError):  # no run has begun there, or its description is damaged, which resuming reports
        then = checkpoint.read_description(resumed / "run.json", "classes")["classes"] if resumed else []
        if isinstance(then, list) and sort_classes(map(str, then)) == classes:
            return [str(name) for name in then]
    return classes


def _recipe(recipe: Recipe, how: FineTune) -> Recipe:
    """The run's recipe for fine-tuning: crops are as in the test, and colours and patches are not augmented.

    Its `init` is None: where the weights come from is a setting of the fine-tuning.
    """
    norm = recipe.train.norm
    if how.train.norm not in ("batch", norm):
        raise VidsslError(f"finetune: norm={how.train.norm!r}: the run's encoder has norm={norm!r}; leave norm out")
    old = recipe.pretext.augment
    check_crop(recipe, how.crop or old.crop)
    augment = replace(
        old,
        resize=how.resize or old.resize,
        short_side=None if how.resize else old.short_side,
        crop=how.crop or old.crop,
        region=None,
        crop_scope="clip",
        crop_area=None,
        jitter=0,
        flip=how.flip,
        brightness=0.0,
        contrast=0.0,
        saturation=0.0,
        hue=0.0,
        grey=0.0,
        split=0.0,
        blur=0.0,
        solarise=0.0,
        cutout=0.0,
        tubes=0.0,
    )
    pretext: Pretext = replace(recipe.pretext, augment=augment)
    if how.input == "frame":
        if not isinstance(pretext, OddOneOut):
            raise VidsslError(
                f"finetune: input='frame': only Odd-One-Out's encoder sees stacks or sums of frames, and this run has "
                f"learnt {pretext.name}; leave input out"
            )
        pretext = replace(pretext, encoding="frame", length=2, stride=1)  # the shortest sequence; its first frame shows
    encoder = how.encoder or recipe.encoder
    return replace(recipe, pretext=pretext, encoder=encoder, train=replace(how.train, norm=norm), init=None, fresh=None)


def _spec(recipe: Recipe) -> PlanSpec:
    """The plan of one clip at a random place in the video."""
    plan = recipe.pretext.plan
    return PlanSpec(
        arrangements=np.arange(plan.times)[None, None],
        labels=np.zeros(1),
        bases=1,
        length=plan.times,
        stride=plan.stride,
        augment=recipe.pretext.augment,
    )
