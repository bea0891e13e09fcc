"""The settings of a training run: frozen, compared when a run is resumed, and written into every checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vidssl import __version__
from vidssl.encoders import check_trusted, is_named
from vidssl.index.holdout import split
from vidssl.index.table import VideoIndex
from vidssl.loader.choose_decoder import Decode
from vidssl.models import ENCODERS
from vidssl.pretext import Pretext, import_pretexts, pretext_code, pretext_from
from vidssl.settings import Settings
from vidssl.store.frames import parse_size
from vidssl.train.checkpoint import written_by
from vidssl.train.loggers import Service
from vidssl.types import VidsslError

MOST_THREADS = 1024  # more than a machine has cores; torch would start them all


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings, owner="train"):
    """How to train.

    Args:
        epochs: Passes over the training videos; not used if steps is given.
        steps: Number of steps, counted from the start of the run; None trains for the given epochs. A resumed run may
            have another number, but not with schedule="cosine".
        batch_size: Tuples in a step, over all processes.
        accumulate: Number of parts into which a process splits its batch; they go through the model one after the
            other. More parts take less memory; batch norm sees each part by itself.
        optimizer: "sgd" with momentum, or "adamw".
        lr: Learning rate.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of the optimizer.
        caffe_bias: Biases of convolutions and dense layers have twice the learning rate and no weight decay, as in
            Caffe's models. Norms keep both, and so does OPN's classifier, as published.
        decay_vectors: True: all weights decay. False: biases, and scales and shifts of norms (tensors of one
            dimension), have no weight decay, as is usual for transformers.
        layer_decay: Each layer of the encoder has the learning rate of the layer above it times this number; the head
            has lr. 1 gives all the same rate. BEiT and VideoMAE fine-tune with 0.65 to 0.75. The encoder has to
            declare its layers (`layer_names`), as ours and those of transformers and timm do.
        schedule: How the learning rate changes: "constant"; "step" multiplies it by 0.1 at each milestone; "cosine"
            lowers it to lr_floor at the last step.
        milestones: Steps at which schedule="step" lowers the rate.
        lr_floor: Learning rate at which schedule="cosine" ends.
        warmup_epochs: Epochs in which the learning rate first rises in equal steps to lr. A cosine begins after them.
        warmup_steps: The same as a number of steps; None takes warmup_epochs.
        clip_norm: Largest norm of the gradient of all weights together; a longer one is shortened to it. None does not
            clip. The log has the norm before clipping.
        ema: Decay of a moving average of all weights, such as 0.9999: after each step, the average moves by 1 - ema of
            the way to the weights. Checkpoints keep it beside them. The held-out videos are measured with it, and
            `evaluate`, `features`, `export`, vidssl.load and init take it unless told otherwise (weights). None: no
            average.
        drop_path: In training, each residual branch of the encoder's last block is left out for this fraction of the
            clips, and of earlier blocks for less, down to 0 in the first (stochastic depth). None leaves the encoder
            as it is built. Only encoders that have it take a rate: those of transformers, most of timm, and functions
            with an argument drop_path.
        amp: "bf16" autocast; "off"; or "auto", which takes bf16 where it is faster: on CUDA, on a CPU with AMX, and for
            a wide model on a CPU with AVX512_BF16.
        norm: "batch" for batch norm; "group" for group norm, which does not depend on how tuples are spread over
            parts and processes.
        slotwise_bn: True: batch norm computes its statistics for each slot separately, as published. False: over the
            clips of all slots together, which is faster.
        sync_bn: Batch norm sees the clips of all processes together; on GPUs only.
        compile: Compile the model (torch.compile); the first step then takes minutes.
        seed: Seed of weights, dropout, sampling and augmentation.
        holdout: Fraction of the videos that is held out for val/loss and val/accuracy.
        group: Regular expression; videos whose paths match the same text are held out together, such as "_g\\d+_" for
            UCF101.
        decode: "cpu"; "nvdec"; "auto" takes the faster of both, measured when the run starts; "dali" is DALI's
            software decoder.
        workers: Threads that decode; None takes one for each core.
        threads: Threads that compute on a CPU; None leaves one core to decoding.
        tuples_per_window: Tuples taken from one decoded window.
        max_corrupt: Fraction of the videos that may turn out to be corrupt before the run stops.
        timeout: If no batch arrives for this many seconds, the run prints where the loader hangs, and ends.
        file_timeout: Seconds that decoding a window may take, and one more for each MiB of its file and each
            frame; none takes 60. A video that takes longer is corrupt.
        nonfinite: What to do about a loss or gradient that is not finite: "stop" the run, or "skip" the step. With
            "skip" every step waits for the device. The tuples are written to nonfinite.jsonl.
        log: Services to which the run also reports, beside TensorBoard and metrics.jsonl: wandb, mlflow. They read
            their own settings from the environment.
        log_every: Steps between two lines of the log.
        show_every: Steps between two pictures of the tuples shown, in TensorBoard.
        val_every: Steps between two validations; there is always one at the end.
        watch: Steps between two measurements of the features of the held-out videos (RankMe, spread, nearest
            neighbour); there is always one at the end. A validation measures them at no further cost.
        save_every: Steps between two checkpoints; there is always one at the end.
        keep: Number of latest checkpoints to keep, beside the one with the lowest val/loss (checkpoints/best).
    """

    epochs: int = 300
    steps: int | None = None
    batch_size: int = 8
    accumulate: int = 1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    caffe_bias: bool = False
    decay_vectors: bool = True
    layer_decay: float = 1.0
    schedule: Literal["constant", "step", "cosine"] = "constant"
    milestones: tuple[int, ...] = ()
    lr_floor: float = 0.0
    warmup_epochs: int = 0
    warmup_steps: int | None = None
    clip_norm: float | None = None
    ema: float | None = None
    drop_path: float | None = None
    amp: Literal["auto", "bf16", "off"] = "auto"
    norm: Literal["batch", "group"] = "batch"
    slotwise_bn: bool = True
    sync_bn: bool = False
    compile: bool = False
    seed: int = 632
    holdout: float = 0.1
    group: str = ""
    decode: Decode = "auto"
    workers: int | None = None
    threads: int | None = None
    tuples_per_window: int = 1
    max_corrupt: float = 0.01
    timeout: float = 600.0
    file_timeout: float | None = None
    nonfinite: Literal["stop", "skip"] = "stop"
    log: tuple[Service, ...] = ()
    log_every: int = 10
    show_every: int = 500
    val_every: int = 500
    watch: int = 500
    save_every: int = 500
    keep: int = 2

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "accumulate",
            "tuples_per_window",
            "log_every",
            "show_every",
            "val_every",
            "watch",
            "save_every",
            "keep",
        ):
            if getattr(self, name) < 1:
                raise VidsslError(f"train: {name}={getattr(self, name)!r}: take at least 1")
        for name, good, hint in (
            ("steps", self.steps is None or self.steps >= 1, "take at least 1, or None to train for the epochs"),
            (
                "sync_bn",
                not self.sync_bn or self.norm == "batch",
                "norm=group has no batch norm; leave one of them out",
            ),
            ("timeout", self.timeout > 0, "take a number of seconds > 0"),
            (
                "file_timeout",
                self.file_timeout is None or self.file_timeout > 0,
                "take a number of seconds > 0, or None for 60",
            ),
            (
                "milestones",
                (self.schedule == "step") == bool(self.milestones),
                'take milestones together with schedule="step"',
            ),
            *self._rates(),
            ("holdout", 0 <= self.holdout < 1, "take a fraction of the videos, 0 <= holdout < 1"),
            ("max_corrupt", 0 <= self.max_corrupt <= 1, "take a fraction of the videos in 0..1"),
            (
                "threads",
                self.threads is None or 1 <= self.threads <= MOST_THREADS,
                f"take 1 to {MOST_THREADS}, or None to leave one core to decoding",
            ),
            ("workers", self.workers is None or self.workers >= 1, "take at least 1, or None for one for each core"),
            ("seed", 0 <= self.seed < 2**63, "take 0 <= seed < 2**63"),
        ):
            if not good:
                raise VidsslError(f"train: {name}={getattr(self, name)!r}: {hint}")
        self.local_batch_size(1)

    def _rates(self) -> tuple[tuple[str, bool, str], ...]:
        """What must be true of the optimizer's numbers: name, whether it is, fix."""
        return (
            ("lr", 0 < self.lr < math.inf, "take a finite rate > 0"),
            ("layer_decay", 0 < self.layer_decay <= 1, "take 0 < layer_decay <= 1; 1 gives all layers the same rate"),
            ("lr_floor", 0 <= self.lr_floor <= self.lr, f"take a rate from 0 to lr={self.lr!r}"),
            ("lr_floor", not self.lr_floor or self.schedule == "cosine", 'take it together with schedule="cosine"'),
            ("warmup_epochs", self.warmup_epochs >= 0, "take at least 0"),
            ("warmup_steps", self.warmup_steps is None or self.warmup_steps >= 0, "take at least 0, or None"),
            (
                "warmup_steps",
                self.warmup_steps is None or not self.warmup_epochs,
                f"warmup_epochs={self.warmup_epochs} says it already; leave one of them out",
            ),
            ("clip_norm", self.clip_norm is None or 0 < self.clip_norm < math.inf, "take a norm > 0, or None"),
            ("ema", self.ema is None or 0 < self.ema < 1, "take 0 < ema < 1, or None for no average"),
            ("drop_path", self.drop_path is None or 0 <= self.drop_path < 1, "take 0 <= drop_path < 1, or None"),
            ("momentum", 0 <= self.momentum < 1, "take 0 <= momentum < 1"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "take a finite number, at least 0"),
        )

    def split(self, index: VideoIndex, span: int) -> tuple[VideoIndex, VideoIndex]:
        """Splits an index into the videos to train on and those held out; see vidssl.index.holdout.split."""
        return split(index, self.holdout, seed=self.seed, group=self.group, span=span)

    @property
    def built(self) -> dict[str, Any]:
        """How the encoder is built: arguments of vidssl.pretext.build_encoder and build_model."""
        return {"norm": self.norm, "drop_path": self.drop_path}

    def local_batch_size(self, processes: int) -> int:
        """Returns the tuples a step of each process. Raises VidsslError if the batch cannot be divided among them."""
        least = 1 if self.norm == "group" or self.sync_bn else 2  # batch norm needs two tuples at a time
        parts = self.accumulate * processes
        what = f"accumulate={self.accumulate}" + (f" x {processes} processes" if processes > 1 else "")
        if self.batch_size % parts or self.batch_size < least * parts:
            why = ": batch norm needs 2 at a time" if least == 2 else ""
            raise VidsslError(
                f"train: batch_size={self.batch_size}: take a multiple of {what}, at least {least * parts}{why}"
            )
        if self.batch_size // processes % self.tuples_per_window:
            each = f" for each of {processes} processes" if processes > 1 else ""
            raise VidsslError(
                f"train: batch_size={self.batch_size}: take a multiple of {processes * self.tuples_per_window}: "
                f"tuples_per_window={self.tuples_per_window}{each}"
            )
        return self.batch_size // processes


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings, owner="train"):
    """A pretext task, an encoder, and how to train it.

    Args:
        pretext: Settings of the pretext task.
        encoder: Name of the encoder, one of vidssl.models.ENCODERS; or module:function or path/to/file.py:function, a
            function that takes channels=3 and returns a torch module; or hf:FOLDER, a folder of transformers with
            config.json (VideoMAE, V-JEPA 2 or ViT) and, if it is there, model.safetensors; or timm:NAME, a model of
            timm with new weights. One that takes frames sees each frame of a clip by itself.
        train: How to train.
        init: First weights of the encoder: a run, a checkpoint (their moving average if they have one), a folder that
            `vidssl export` wrote, a .safetensors file, or a state dict of torch; names must be the encoder's, or have
            one other beginning. None begins with random weights. A resumed run does not read it again.
        fresh: Names of parts of the encoder that do not take the weights of init, such as "dense" (the fully connected
            layers of a CaffeNet) or "convs.conv1". None is no part.
        store_size: Size to which frames are reduced once, after decoding, whether they are kept in a store or not:
            "none" leaves them as they are, and nothing can be kept; "native" also does, and they can be kept;
            HEIGHTxWIDTH, such as 128x171, reduces them.
    """

    pretext: Pretext
    encoder: str
    train: TrainConfig = TrainConfig()
    init: str | None = None
    fresh: tuple[str, ...] | None = None
    store_size: str = "none"

    def __post_init__(self) -> None:
        if self.fresh and self.init is None:
            raise VidsslError(
                f"train: fresh={self.fresh!r}: without init, all parts are fresh; give init, or leave it out"
            )
        if self.store_size != "none":
            size = parse_size(self.store_size)
            crop = self.pretext.augment.crop
            if size != "native" and (size[0] < crop[0] or size[1] < crop[1]):
                raise VidsslError(
                    f"store_size={self.store_size}: crops are {crop[0]}x{crop[1]}; take at least that, native or none"
                )

    def as_dict(self) -> dict[str, Any]:
        """Returns a dictionary that can be written as JSON, and from which `recipe_from` makes the recipe again."""
        own = pretext_code(self.pretext.name)
        code = {"code": own} if own else {}
        return {"method": self.pretext.name, **asdict(self), "pretext": self.pretext.as_dict(), **code}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested dictionaries as one, with keys joined by dots. Tuples become lists, as JSON would make them."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out.update(flat(value, f"{prefix}{key}."))
        else:
            out[prefix + key] = list(value) if isinstance(value, tuple) else value
    return out


def recipe_from(
    values: dict[str, Any],
    *,
    where: str = "",
    versions: Mapping[str, str] | None = None,
    trust_code: bool = False,
) -> Recipe:
    """Makes the recipe that a checkpoint's meta.json holds.

    Args:
        values: What `Recipe.as_dict` returned.
        where: Beginning of an error: the argument that names the file, and its value.
        versions: Of vidssl and its packages, as the file records them, for errors.
        trust_code: Accept an encoder that is built by code, which a later call will import, and import the class of a
            task that is code.

    Raises:
        VidsslError: This version lacks a setting or refuses its value, the task is not known, or code is not trusted or
            not found.
    """
    import_pretexts(values.get("code", {}), trust_code=trust_code)
    try:
        recipe = Recipe(
            pretext=pretext_from(values["method"], tuples(values["pretext"])),
            encoder=values["encoder"],
            train=TrainConfig(**tuples(values["train"])),
            init=values.get("init"),
            fresh=tuples(values.get("fresh")),
            store_size=values.get("store_size", "none"),
        )
        if recipe.encoder not in ENCODERS and not is_named(recipe.encoder):
            raise KeyError(f"encoder={recipe.encoder!r}")
    except (TypeError, KeyError, AttributeError) as error:
        raise VidsslError(
            f"{where or f'recipe={values!r}'}: this version of vidssl cannot read it ({error}), as it is "
            f"{__version__}; use the version that wrote it{written_by(versions, ', ')}"
        ) from error
    except VidsslError as error:
        raise VidsslError(
            f"{where}: {error}{written_by(versions, '; written by ')}" if where else f"{error}"
        ) from error
    check_trusted(recipe.encoder, trust_code=trust_code)
    return recipe


def tuples(value: Any) -> Any:
    """Turns lists, also those in dictionaries, back into the tuples that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: tuples(item) for key, item in value.items()}
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value
