"""Fine-tuning: the encoder goes on learning, with labels, under a new linear layer; then it is tested as published.

Sources: VCOP (Xu et al., CVPR 2019, and the authors' code): 150 epochs of one random clip a video, SGD, learning rate 1e-3 throughout,
weight decay 5e-4, 8 clips a step; tested on 10 clips a video, answers averaged. Encoders of frames are tested on 25 frames a video, each
cut from the corners and the centre and mirrored, as OPN's authors say; how long they train differs from paper to paper, here it is as VCOP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from vidssl.device import pick_device
from vidssl.evaluate.features import extract
from vidssl.evaluate.finding import Finding
from vidssl.evaluate.interval import Number, numbered, share
from vidssl.evaluate.parts import Parts
from vidssl.evaluate.probe import Answers, commonest
from vidssl.evaluate.trained import Trained, View
from vidssl.loader import Loader
from vidssl.models import Encoder
from vidssl.paths import inside
from vidssl.pretext import SlotModel, build_model
from vidssl.stages.index import VideoIndex
from vidssl.stages.plan import PlanSpec
from vidssl.train import checkpoint
from vidssl.train.bf16 import trains_in_bf16
from vidssl.train.config import Recipe, TrainConfig, flat
from vidssl.train.device import count, loads_on, pick_amp, torch_threads
from vidssl.train.log import Log
from vidssl.train.loop import open_run
from vidssl.train.ranks import Ranks
from vidssl.train.run import Run
from vidssl.train.split import fingerprint, split
from vidssl.train.step import Stepper
from vidssl.types import Batch, VidsslError
from vidssl.versions import versions


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """How to fine-tune and to test.

    Args:
        init: Where the encoder begins: at the run's checkpoint, or from scratch, as the run began.
        freeze: Parts of the encoder that stay as they are, batch norm too, by name, as "stem stages.0 stages.1".
        clips: Clips a video that the test averages; none takes 10, of encoders of frames 25 frames.
        crops: Of each of them: its centre, or ten (corners and centre, mirrored too); none takes the centre, for encoders of frames ten.
        flip: Probability of mirroring a training clip.
        resize: Height and width that the picture is resized to; none takes the recipe's.
        crop: Height and width cut out of it; none takes the recipe's.
        train: How to train.
    """

    init: Literal["checkpoint", "scratch"] = "checkpoint"
    freeze: tuple[str, ...] = ()
    clips: int | None = None
    crops: Literal["centre", "ten"] | None = None
    flip: float = 0.0
    resize: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    train: TrainConfig = field(default_factory=lambda: TrainConfig(epochs=150, holdout=0.084, save_every=1000))


class Classifier(SlotModel):
    """An encoder and a linear layer, without dropout: clips [B, 1, 3, T, H, W] to logits [B, classes]. frozen: parts of it that stay."""

    def __init__(
        self, encoder: Encoder, encode: Callable[[torch.Tensor], torch.Tensor], classes: int, frozen: Sequence[str]
    ) -> None:  # fmt: skip
        super().__init__()
        self.encoder, self.encode = encoder, encode
        self.head = nn.Sequential(nn.Flatten(1), nn.Linear(encoder.features, classes))
        named = dict(encoder.named_modules())
        if unknown := [name for name in frozen if not name or name not in named]:
            parts = ", ".join(name for name in named if name and name.count(".") < 2)
            raise VidsslError(f"finetune: freeze={unknown!r}: take some of {parts}")
        self.frozen = [named[name] for name in frozen]
        for part in self.frozen:
            part.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Classifier:
        super().train(mode)
        for part in self.frozen:
            part.eval()
        return self

    def features(self, clips: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.encoder(self.encode(clips.flatten(0, 1)))
        return found[:, None]


class Labelled(Loader):
    """A loader whose labels are the videos' classes."""

    classes: torch.Tensor  # int64, of every row of its index

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            yield batch._replace(label=self.classes[batch.video.cpu()].to(batch.label.device))


def evaluate_finetune(
    run: Trained, data: Parts, how: FineTune, *, resume: bool = False, device: str = "auto", out: Path | None = None, quiet: bool = False
) -> Finding:
    """Train on the known videos, test on those asked. The new run lies in RUN/finetune/<init>, and can be evaluated like any other.

    resume: go on with it where it was. out: JSON file, RUN/finetune_<init>.json if None.
    Raises VidsslError where labels are missing, a class is asked for that is not known, or by_group asks for many trainings.
    """
    if data.asked is None:
        raise VidsslError("finetune: by_group=True would train once for each group; name the test videos with test")
    classes = _classes(data)
    recipe, config = _recipe(run.recipe, how), how.train
    folder = inside(run.folder, f"finetune/{how.init}")
    alone = Ranks(device=pick_device(device))
    start = open_finetuned(folder, resume=resume)
    torch.manual_seed(config.seed)
    encoder = build_model(recipe.pretext, recipe.encoder, norm=run.recipe.train.norm).encoder  # which also says where clips do not fit
    if how.init == "checkpoint":
        encoder.load_state_dict(checkpoint.load_weights(run.path, "encoder"))
    model = Classifier(encoder, recipe.pretext.encode, len(classes), how.freeze)
    spec = _spec(recipe, how)
    train_part, val_part = split(data.known, config.holdout, seed=config.seed, group=config.group, span=spec.frames)
    clips = config.batch_size // config.accumulate
    amp = pick_amp(config.amp, alone.device, count(model)) and trains_in_bf16(
        encoder, recipe.pretext.input, alone.device, clips=clips, must=config.amp == "bf16"
    )
    fixed = flat({**asdict(how), "encoder": recipe.encoder, "classes": classes, "from": run.meta["data"], "step": run.step})
    meta = {
        "recipe": recipe.as_dict(), "fixed": fixed, "data": fingerprint(data.known), "videos": len(data.known),
        "amp": "bf16" if amp else "off", "seed": config.seed, "classes": classes,
        "versions": versions(),
    }  # fmt: skip
    if start is not None and (then := _changed(checkpoint.load_meta(start), meta)):
        raise VidsslError(f"finetune: resume: {start} was made with other settings ({then}); restore them, or remove {folder}")
    loading: dict[str, Any] = {"spec": spec, "config": config, "amp": meta["amp"], "device": alone.device, "classes": classes}
    with ExitStack() as stack:
        stack.enter_context(torch_threads(config.threads))
        loader = stack.enter_context(_loader(train_part, train=True, **loading))
        val = stack.enter_context(_loader(val_part, train=False, **loading)) if len(val_part) else None
        total = config.steps if config.steps is not None else config.epochs * len(loader)
        stepper = Stepper(model.to(alone.device), config, alone, amp=meta["amp"] == "bf16", total=total)
        going = Run(stepper, loader, val, train_part, val_part, folder, meta, names=classes, augment=recipe.pretext.augment)
        if start is not None:
            going.load(start)
        result = going.fit(stack.enter_context(Log(folder, step=going.step, total=total, classes=classes, quiet=quiet)))
    return _test(run, data, how, model, recipe, classes, {"steps": result.step, "checkpoint": str(result.checkpoint)}, out, quiet)


def open_finetuned(folder: Path, *, resume: bool) -> Path | None:
    """As vidssl.train.loop.open_run. Raises VidsslError where there is a run already that is not to be gone on with."""
    if not resume and (folder / "metrics.jsonl").exists():
        raise VidsslError(f"finetune: {str(folder)!r} holds a fine-tuned run; --resume continues it, or move it away")
    return open_run(folder, resume=resume)


def _test(
    run: Trained, data: Parts, how: FineTune, model: Classifier, recipe: Recipe, classes: list[str], trained: dict[str, Any],
    out: Path | None, quiet: bool,
) -> Finding:  # fmt: skip
    single = recipe.pretext.input[1] == 1
    clips = how.clips or (25 if single else 10)
    crops = how.crops or ("ten" if single else "centre")
    assert data.asked is not None
    device = next(model.parameters()).device
    logits = extract(
        [nn.Sequential(model.encoder, model.head)], data.asked, View(clips=clips).of(recipe, crops=crops), device=device, progress=not quiet
    )[0]
    answers = Answers(logits.feature.argmax(1), torch.tensor([classes.index(str(name)) for name in logits.label]), classes)
    (group,) = numbered(logits.groups())
    views = f"{clips} {'frames' if single else 'clips'} x {10 if crops == 'ten' else 1} crop(s)"
    finding = Finding(
        kind="finetune" if how.init == "checkpoint" else "finetune_scratch",
        protocol=f"trained with labels from {how.init}; tested on {views} a video, answers averaged (as VCOP and OPN test)",
        numbers={
            "fine-tuned" if how.init == "checkpoint" else "from scratch": {"right": share(answers.right, group)},
            "chance": {"right": Number(commonest(logits))},
        },
        split=data.split,
        counts={"videos to learn from": len(data.known), "to test": len(logits.label), "classes": len(classes)},
        settings={**asdict(how), "clips": clips, "crops": crops, **trained},
        notes=(f"Frozen: {', '.join(how.freeze) or 'nothing'}. {len(data.asked) - len(logits.label)} test videos too short.",),
        detail={"confusion": {how.init: answers.table()}},
    )
    finding.publish(run, data, out=out)
    return finding


def _classes(data: Parts) -> list[str]:
    assert data.asked is not None
    labels, asked = (part.column("label").to_pylist() for part in (data.known, data.asked))
    if None in labels or None in asked:
        raise VidsslError("finetune: label: some videos have none; give labels as a .csv with the columns path,label[,group]")
    if unknown := sorted(set(asked) - set(labels)):
        raise VidsslError(f"finetune: test: {len(unknown)} classes, such as {unknown[0]!r}, are not among the training videos")
    return sorted(set(labels))


def _recipe(recipe: Recipe, how: FineTune) -> Recipe:
    """The run's recipe with pictures cut as fine-tuning wants them: no colour change, no moving patch; for training as for the test."""
    old = recipe.pretext.augment
    augment = replace(
        old, resize=how.resize or old.resize, crop=how.crop or old.crop, region=None, crop_scope="clip", jitter=0, flip=how.flip,
        brightness=0.0, contrast=0.0, saturation=0.0, grey=0.0, split=0.0,
    )  # fmt: skip
    return replace(recipe, pretext=replace(recipe.pretext, augment=augment), train=how.train)


def _spec(recipe: Recipe, how: FineTune) -> PlanSpec:
    """One clip from anywhere in the video."""
    plan = recipe.pretext.plan
    return PlanSpec(
        arrangements=np.arange(plan.times)[None, None], labels=np.zeros(1), bases=1, length=plan.times, stride=plan.stride,
        augment=recipe.pretext.augment,
    )  # fmt: skip


def _loader(
    index: VideoIndex, *, spec: PlanSpec, config: TrainConfig, amp: str, device: torch.device, classes: list[str], train: bool
) -> Labelled:
    loader = Labelled(
        index, spec, batch_size=config.batch_size, device=loads_on(device), decode=config.decode, seed=config.seed, workers=config.workers,
        train=train, dtype="bfloat16" if amp == "bf16" else "float32", channels_last=True, max_bad=config.max_bad,
    )  # fmt: skip
    place = {name: at for at, name in enumerate(classes)}
    loader.classes = torch.tensor([place[name] for name in index.column("label").to_pylist()])
    return loader


def _changed(then: dict[str, Any], now: dict[str, Any]) -> str:
    """What differs between a run and its resumption, but for its length and how often it is said."""
    free = {
        f"train.{name}" for name in ("epochs", "steps", "workers", "threads", "max_bad", "log_every", "val_every", "save_every", "keep")
    }
    before, after = ({**one["fixed"], "data": one["data"]} for one in (then, now))
    keys = sorted((before.keys() | after.keys()) - free)
    return "; ".join(f"{key}: {before.get(key)!r} then, {after.get(key)!r} now" for key in keys if before.get(key) != after.get(key))
