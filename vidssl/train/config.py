"""What a training run is, as data: frozen, compared on resume, written into every checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vidssl.pretext.base import Pretext
from vidssl.pretext.vcop import Vcop
from vidssl.stages.plan import Augment
from vidssl.types import VidsslError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train. Optimiser: SGD with momentum.

    Args:
        epochs: Passes over the videos; `--steps` overrides it.
        batch_size: Tuples a step.
        lr: Learning rate.
        momentum: Of SGD.
        weight_decay: Of SGD, on every parameter.
        schedule: "constant", or "cosine" down to zero at the last step.
        amp: "bf16" autocast, "off", or "auto": bf16 where it pays, which is on CUDA and on a CPU with AMX.
        slotwise_bn: Batch norm sees each slot's clips by themselves, as published; no: all clips of a batch in one call.
        seed: Of weights, dropout, sampling and augmentation.
        holdout: Share of the videos held out for val/loss and val/accuracy; 0 holds out none.
        group: Regular expression; videos whose paths match the same text are held out together, as "_g\\d+_" for UCF101.
        decode: "auto" or "cpu".
        workers: Threads that decode; none takes one a core.
        threads: Threads that compute on a CPU; none leaves one core to decoding.
        tuples_per_window: Tuples taken from one decoded window.
        max_bad: Share of the videos that may turn out unreadable before the run stops.
        log_every: Steps between two lines of the log.
        val_every: Steps between two validations; the end always has one.
        save_every: Steps between two checkpoints; the end always has one.
        keep: Newest checkpoints to keep.
    """

    epochs: int = 300
    batch_size: int = 8
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: Literal["constant", "cosine"] = "constant"
    amp: Literal["auto", "bf16", "off"] = "auto"
    slotwise_bn: bool = True
    seed: int = 632
    holdout: float = 0.1
    group: str = ""
    decode: Literal["auto", "cpu"] = "auto"
    workers: int | None = None
    threads: int | None = None
    tuples_per_window: int = 1
    max_bad: float = 0.01
    log_every: int = 10
    val_every: int = 500
    save_every: int = 500
    keep: int = 2

    def __post_init__(self) -> None:
        for name in ("epochs", "tuples_per_window", "log_every", "val_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise VidsslError(f"train: {name}={getattr(self, name)!r}: take at least 1")
        for name, good, mend in (
            ("batch_size", self.batch_size >= 2, "take at least 2, which batch norm needs"),
            ("lr", self.lr > 0, "take a rate > 0"),
            ("momentum", 0 <= self.momentum < 1, "take 0 <= momentum < 1"),
            ("weight_decay", self.weight_decay >= 0, "take at least 0"),
            ("holdout", 0 <= self.holdout < 1, "take a share of the videos, 0 <= holdout < 1"),
            ("max_bad", 0 <= self.max_bad <= 1, "take a share of the videos in 0..1"),
            ("threads", self.threads is None or self.threads >= 1, "take at least 1, or none to leave one core to decoding"),
            ("workers", self.workers is None or self.workers >= 1, "take at least 1, or none for one a core"),
            ("seed", 0 <= self.seed < 2**63, "take 0 <= seed < 2**63"),
        ):
            if not good:
                raise VidsslError(f"train: {name}={getattr(self, name)!r}: {mend}")


# What may change between a run and its resumption. Of these, only the number of threads can change bits: the order of sums.
_FREE = ("epochs", "workers", "threads", "max_bad", "log_every", "val_every", "save_every", "keep")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A pretext task, an encoder, and how to train it.

    Args:
        pretext: Settings of the pretext task.
        encoder: Name of the encoder, one of vidssl.models.ENCODERS.
        train: How to train.
    """

    pretext: Vcop = field(default_factory=Vcop)
    encoder: str = "r3d"
    train: TrainConfig = field(default_factory=TrainConfig)

    def build(self) -> Pretext:
        return self.pretext.pretext()

    def fixed(self) -> dict[str, Any]:
        """What a resumed run must share with the run it continues, flat: "train.lr" -> 0.001."""
        free = {f"train.{name}" for name in _FREE if not (name == "epochs" and self.train.schedule != "constant")}
        return {name: value for name, value in flat(asdict(self)).items() if name not in free}


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, keys joined by dots; tuples become lists, as they come back from JSON."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            out.update(flat(value, f"{prefix}{key}."))
        else:
            out[prefix + key] = list(value) if isinstance(value, tuple) else value
    return out


def recipe_from(values: dict[str, Any]) -> Recipe:
    """The recipe that a checkpoint's meta.json holds. Raises VidsslError where this vidssl has no such settings."""
    try:
        pretext = dict(values["pretext"])
        shown: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in pretext.pop("augment").items()}
        return Recipe(pretext=Vcop(**pretext, augment=Augment(**shown)), encoder=values["encoder"], train=TrainConfig(**values["train"]))
    except (TypeError, KeyError, AttributeError) as error:
        raise VidsslError(f"recipe={values!r}: not one of this version of vidssl ({error}); use the version that wrote it") from error
