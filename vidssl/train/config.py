"""What a training run is, as data: frozen, compared on resume, written into every checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from vidssl.loader.choose import Decode
from vidssl.pretext import METHODS, Pretext
from vidssl.stages.plan import Augment
from vidssl.types import VidsslError


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How to train.

    Args:
        epochs: Passes over the videos, where steps is none.
        steps: Where to end, counted from the run's beginning; none takes the epochs.
        batch_size: Tuples a step, of all processes together: each takes its share.
        accumulate: Parts of a process's tuples that go through the model one after the other: less memory; batch norm sees the parts.
        optimizer: "sgd" with momentum, or "adamw".
        lr: Learning rate.
        momentum: Of SGD.
        weight_decay: Of the optimizer.
        caffe_bias: Biases learn twice as fast and do not decay, as in Caffe's models.
        schedule: "constant", "step": times 0.1 at each milestone, or "cosine" down to zero at the last step.
        milestones: Steps at which schedule="step" lowers the rate.
        amp: "bf16" autocast, "off", or "auto": bf16 where it pays: on CUDA, on a CPU with AMX, and a wide model with AVX512_BF16.
        norm: "batch", or "group": group norm in its stead, which does not depend on how tuples are spread over parts and processes.
        slotwise_bn: Batch norm sees each slot's clips by themselves, as published; no: all clips of a batch in one call.
        sync_bn: Batch norm sees the clips of all processes together; GPUs only.
        compile: Compile the model (torch.compile): the first step takes minutes.
        seed: Of weights, dropout, sampling and augmentation.
        holdout: Share of the videos held out for val/loss and val/accuracy; 0 holds out none.
        group: Regular expression; videos whose paths match the same text are held out together, as "_g\\d+_" for UCF101.
        decode: "cpu", "nvdec", "auto": the faster of both, as measured when the run begins, or "dali": DALI's software decoder.
        workers: Threads that decode; none takes one a core.
        threads: Threads that compute on a CPU; none leaves one core to decoding.
        tuples_per_window: Tuples taken from one decoded window.
        max_bad: Share of the videos that may turn out unreadable before the run stops.
        timeout: Seconds that the loader may give nothing before the run says where it hangs, and stops.
        nonfinite: A loss or gradient that is not finite: "stop" the run, or "skip" the step, which waits for the device in each step.
            What was shown goes to nonfinite.jsonl.
        log_every: Steps between two lines of the log.
        show_every: Steps between two pictures of tuples as shown, in TensorBoard.
        val_every: Steps between two validations; the end always has one.
        save_every: Steps between two checkpoints; the end always has one.
        keep: Newest checkpoints to keep, beside the one with the lowest val/loss (checkpoints/best).
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
    schedule: Literal["constant", "step", "cosine"] = "constant"
    milestones: tuple[int, ...] = ()
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
    max_bad: float = 0.01
    timeout: float = 600.0
    nonfinite: Literal["stop", "skip"] = "stop"
    log_every: int = 10
    show_every: int = 500
    val_every: int = 500
    save_every: int = 500
    keep: int = 2

    def __post_init__(self) -> None:
        for name in ("epochs", "accumulate", "tuples_per_window", "log_every", "show_every", "val_every", "save_every", "keep"):
            if getattr(self, name) < 1:
                raise VidsslError(f"train: {name}={getattr(self, name)!r}: take at least 1")
        for name, good, mend in (
            ("steps", self.steps is None or self.steps >= 1, "take at least 1, or None for the epochs"),
            ("norm", self.norm in ("batch", "group"), "take batch or group"),
            ("optimizer", self.optimizer in ("sgd", "adamw"), "take sgd or adamw"),
            ("nonfinite", self.nonfinite in ("stop", "skip"), "take stop or skip"),
            ("sync_bn", not self.sync_bn or self.norm == "batch", "there is no batch norm with norm=group; leave one of them out"),
            ("timeout", self.timeout > 0, "take a number of seconds > 0"),
            ("milestones", (self.schedule == "step") == bool(self.milestones), 'give them with schedule="step", and only then'),
            ("lr", self.lr > 0, "take a rate > 0"),
            ("momentum", 0 <= self.momentum < 1, "take 0 <= momentum < 1"),
            ("weight_decay", self.weight_decay >= 0, "take at least 0"),
            ("holdout", 0 <= self.holdout < 1, "take a share of the videos, 0 <= holdout < 1"),
            ("max_bad", 0 <= self.max_bad <= 1, "take a share of the videos in 0..1"),
            ("threads", self.threads is None or self.threads >= 1, "take at least 1, or None to leave one core to decoding"),
            ("workers", self.workers is None or self.workers >= 1, "take at least 1, or None for one a core"),
            ("seed", 0 <= self.seed < 2**63, "take 0 <= seed < 2**63"),
        ):
            if not good:
                raise VidsslError(f"train: {name}={getattr(self, name)!r}: {mend}")
        self.share(1)

    def share(self, processes: int) -> int:
        """Tuples a step of each of so many processes. Raises VidsslError where the batch cannot be shared out."""
        least = 1 if self.norm == "group" or self.sync_bn else 2  # tuples that batch norm needs at a time
        parts = self.accumulate * processes
        what = f"accumulate={self.accumulate}" + (f" x {processes} processes" if processes > 1 else "")
        if self.batch_size % parts or self.batch_size < least * parts:
            why = ": batch norm needs 2 at a time" if least == 2 else ""
            raise VidsslError(f"train: batch_size={self.batch_size}: take a multiple of {what}, at least {least * parts}{why}")
        if self.batch_size // processes % self.tuples_per_window:
            each = f": that many for each of {processes} processes" if processes > 1 else ""
            raise VidsslError(
                f"train: batch_size={self.batch_size}: take a multiple of {processes * self.tuples_per_window}, "
                f"tuples_per_window={self.tuples_per_window}{each}"
            )
        return self.batch_size // processes


# What may change between a run and its resumption. Of these, only the number of threads can change bits: the order of sums.
_FREE = (
    "epochs", "steps", "workers", "threads", "max_bad", "timeout", "nonfinite",
    "log_every", "show_every", "val_every", "save_every", "keep",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A pretext task, an encoder, and how to train it.

    Args:
        pretext: Settings of the pretext task.
        encoder: Name of the encoder, one of vidssl.models.ENCODERS.
        train: How to train.
    """

    pretext: Pretext
    encoder: str
    train: TrainConfig = TrainConfig()

    def as_dict(self) -> dict[str, Any]:
        """What `recipe_from` makes a recipe of, once it has been through JSON."""
        return {"method": self.pretext.name, **asdict(self)}

    def fixed(self) -> dict[str, Any]:
        """What a resumed run must share with the run it continues, flat: "train.lr" -> 0.001."""
        ends = ("train.epochs", "train.steps") if self.train.schedule == "cosine" else ()  # the learning rate depends on the last step
        free = {f"train.{name}" for name in _FREE}.difference(ends)
        return {name: value for name, value in flat(self.as_dict()).items() if name not in free}


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
        pretext, train = ({key: _tuples(value) for key, value in values[part].items()} for part in ("pretext", "train"))
        augment = Augment(**{key: _tuples(value) for key, value in values["pretext"]["augment"].items()})
        method = METHODS[values["method"]]
        return Recipe(pretext=method(**pretext | {"augment": augment}), encoder=values["encoder"], train=TrainConfig(**train))
    except (TypeError, KeyError, AttributeError) as error:
        raise VidsslError(f"recipe={values!r}: not one of this version of vidssl ({error}); use the version that wrote it") from error


def _tuples(value: Any) -> Any:
    """What JSON made a list of, as it was."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
