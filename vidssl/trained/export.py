"""A trained encoder as files for other programs. Each file is read again and compared with the encoder."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from vidssl.paths import atomic_write, output_path
from vidssl.train.checkpoint import digest
from vidssl.trained.encoder import CARD, WEIGHTS, TrainedEncoder, described, load
from vidssl.types import VidsslError
from vidssl.versions import versions

Format = Literal["safetensors", "onnx", "torch"]
_FILES: dict[Format, str] = {"safetensors": WEIGHTS, "onnx": "encoder.onnx", "torch": "encoder.pt2"}
_ONNX = ("onnx", "onnxscript", "onnxruntime")
_TORCH_WARNS = r"`isinstance\(treespec, LeafSpec\)` is deprecated"  # of torch itself, whose exporter does that
_AGREES = 1e-4  # largest difference, as a fraction of the largest value of a feature


class Exported(NamedTuple):
    """A file that was written, read again and compared.

    Attributes:
        path: The file.
        difference: Largest difference between its features and the encoder's, for one random batch, as a fraction of
            the largest value.
    """

    path: Path
    difference: float


class _Encoder(nn.Module):
    """The encoder behind the step that makes its input of a clip, such as a stack of differences."""

    def __init__(self, trained: TrainedEncoder) -> None:
        super().__init__()
        self.encoder, self._encode = trained.encoder, trained.recipe.pretext.encode

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        feature: torch.Tensor = self.encoder(self._encode(clips))
        return feature


def export(trained: TrainedEncoder, out: Path, formats: Sequence[Format] = ("safetensors",)) -> list[Exported]:
    """Write an encoder for other programs.

    Args:
        trained: The encoder.
        out: The folder: a new or empty one, or one that an earlier call wrote.
        formats: safetensors: the weights, and in their metadata all that `load` needs (encoder.safetensors). onnx: a
            graph for ONNX Runtime and others (encoder.onnx). torch: a program of torch.export, which needs no vidssl
            (encoder.pt2). The last two take clips float32 [N, 3, T, H, W] for any N: RGB in 0..1, less the mean,
            divided by the standard deviation. encoder.json says all this in numbers.

    Returns:
        The files of `formats`, in that order.

    Raises:
        VidsslError: A package is missing, a file cannot be written, or a file's features are not the encoder's.
    """
    unknown = [one for one in formats if one not in get_args(Format)]
    if unknown or not formats:
        raise VidsslError(f"to={list(formats)}: take some of {', '.join(get_args(Format))}")
    if "onnx" in formats and (missing := [name for name in _ONNX if find_spec(name) is None]):
        raise VidsslError(f"to=onnx: {', '.join(missing)}: not installed; run: pip install 'vidssl[onnx]'")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / CARD).is_file())):
        raise VidsslError(f"out={str(out)!r}: it exists and is no folder of an export; name a new folder")
    encoder = _Encoder(trained).eval().cpu()
    shape = (3, trained.frames, *trained.size)
    clips = torch.rand((2, *shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        feature = encoder(clips)
    done = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for one in dict.fromkeys(formats):
            path = output_path(out, _FILES[one])
            with atomic_write(path) as aside:
                _WRITE[one](trained, encoder, clips, aside)
            again = _READ[one](path)(torch.cat([clips, clips[:1]]))[:2]  # another N than the one that was traced
            difference = float((again - feature).abs().max() / feature.abs().max().clamp(min=1e-12))
            if not difference <= (0 if one == "safetensors" else _AGREES):
                path.unlink()
                raise VidsslError(
                    f"to={one}: the features of {path.name} differ from the encoder's by {difference:.1e} of the "
                    "largest value, so it was deleted; take another format"
                )
            done.append(Exported(path, difference))
        with atomic_write(output_path(out, CARD)) as aside:
            aside.write_text(json.dumps(_card(trained, feature.shape[1], done), indent=1) + "\n")
    except (OSError, SafetensorError) as error:
        raise VidsslError(
            f"out={str(out)!r}: {error}; name a folder that can be written, or free some space"
        ) from error
    return done


def _card(trained: TrainedEncoder, features: int, done: Sequence[Exported]) -> dict[str, Any]:
    files = {
        one.path.name: {
            "bytes": one.path.stat().st_size,
            "sha256": digest(one.path),
            "largest difference, as a fraction of the largest value": one.difference,
        }
        for one in done
    }
    return {
        "encoder": trained.recipe.encoder,
        "input": {
            "clips": ["N", 3, trained.frames, *trained.size],
            "type": "float32, RGB in 0..1, less mean, divided by std",
            "mean": trained.mean,
            "std": trained.std,
            "stride": trained.stride,
            "frames are first resized to": trained.resize,
            "and before that reduced to": trained.recipe.store_size,
        },
        "output": {"features": ["N", features]},
        **described(trained),
        "versions": versions(),
        "files": files,
    }


def _write_safetensors(trained: TrainedEncoder, _encoder: nn.Module, _clips: torch.Tensor, aside: Path) -> None:
    tensors = {name: one.detach().cpu().contiguous() for name, one in trained.encoder.state_dict().items()}
    about = {**described(trained), "versions": versions()}
    save_file(tensors, aside, metadata={"format": "pt", "vidssl": json.dumps(about)})


def _read_safetensors(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    return torch.no_grad()(_Encoder(load(path, trust_code=True)))  # `trained` has run it already


def _write_torch(_trained: TrainedEncoder, encoder: nn.Module, clips: torch.Tensor, aside: Path) -> None:
    program = torch.export.export(encoder, (clips,), dynamic_shapes={"clips": {0: torch.export.Dim("n", min=1)}})
    with aside.open("wb") as file:
        torch.export.save(program, file)


def _read_torch(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    with path.open("rb") as file:
        return torch.no_grad()(torch.export.load(file).module())


def _write_onnx(_trained: TrainedEncoder, encoder: nn.Module, clips: torch.Tensor, aside: Path) -> None:
    quiet = logging.getLogger("torch.onnx")
    before = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", _TORCH_WARNS, FutureWarning)
            program = torch.onnx.export(
                encoder,
                (clips,),
                dynamo=True,
                input_names=["clips"],
                output_names=["features"],
                dynamic_shapes={"clips": {0: torch.export.Dim("n", min=1)}},
                verbose=False,
            )
        assert program is not None
        program.save(str(aside), external_data=False)
    finally:
        quiet.setLevel(before)


def _read_onnx(path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda clips: torch.from_numpy(session.run(None, {"clips": clips.numpy()})[0])


_WRITE = {"safetensors": _write_safetensors, "torch": _write_torch, "onnx": _write_onnx}
_READ = {"safetensors": _read_safetensors, "torch": _read_torch, "onnx": _read_onnx}
