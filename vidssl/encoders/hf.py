"""Encoders from a folder of Hugging Face's transformers. Nothing is downloaded, and no code of the folder runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vidssl.encoders.adapter import Adapted
from vidssl.encoders.code import HF
from vidssl.files import parse_json, read_text
from vidssl.models.drop_path import DropPath, drop_path_rates
from vidssl.types import VidsslError

_KINDS = ("videomae", "vit", "vjepa2")  # model_type of config.json
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")


class Tokens(nn.Module):
    """A transformer that maps clips [N, C, T, H, W], a ViT frames [N, C, H, W], to tokens [N, L, D].

    Args:
        model: Model of transformers.
        kind: Its model_type.
        grid: (t, h, w) of its tokens.
    """

    def __init__(self, model: nn.Module, kind: str, grid: tuple[int, int, int]) -> None:
        super().__init__()
        self.model, self.kind, self.grid = model, kind, grid
        path, blocks = _blocks(model)
        self.layer_names = ("model.embeddings", *(f"model.{path}.{at}" for at in range(len(blocks))))

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Compute the tokens; the last t * h * w are those of the grid."""
        shown = clips if self.kind == "vit" else clips.transpose(1, 2)  # [N, T, C, H, W]
        found: torch.Tensor = self.model(shown).last_hidden_state
        return found


def has_weights(encoder: str) -> bool:
    """Whether the name of an encoder is hf:FOLDER of a folder that has weights."""
    folder = Path(encoder.removeprefix(HF))
    return encoder.startswith(HF) and any((folder / name).is_file() for name in _WEIGHTS)


def read_hf(
    encoder: str, shape: tuple[int, int, int, int], *, drop_path: float | None = None, new_weights: bool = False
) -> Adapted:
    """Read an encoder from a folder that `save_pretrained` wrote.

    Args:
        encoder: hf:FOLDER. The folder has config.json and may have weights (model.safetensors). Without them, the
            encoder gets new ones. Mean and std are read from preprocessor_config.json, if it is there.
        shape: (C, T, H, W) of the clips. A ViT sees each of their frames by itself.
        drop_path: Rate of the last block in training; None takes that of config.json, or none.
        new_weights: Give it new weights, also if the folder has some.

    Returns:
        The encoder. Its map has the tokens at their places, and its feature is their mean.

    Raises:
        VidsslError: transformers is not installed, the folder cannot be read, its model is of a kind that is not
            supported, or takes other clips.
    """
    folder, where = Path(encoder.removeprefix(HF)), f"encoder={encoder!r}:"
    if find_spec("transformers") is None:
        raise VidsslError(f"{where} transformers is not installed; run: pip install 'vidssl[transformers]'")
    config = _read(folder / "config.json", where)
    kind = config.get("model_type")
    if kind not in _KINDS:
        raise VidsslError(
            f"{where} its config.json is of model_type {kind!r}; take one of {', '.join(_KINDS)}, or a function of "
            "your own (path/to/file.py:function)"
        )
    if not has_weights(encoder) and any((folder / name).is_file() for name in _PICKLED):
        raise VidsslError(
            f"{where} its weights are pickled ({_PICKLED[0]}), and a pickle can run code; write them again with "
            "save_pretrained, which makes model.safetensors"
        )
    try:
        model, settings = _build(folder, kind, drop_path, new_weights=new_weights or not has_weights(encoder))
        grid = _grid(settings, kind, shape, where)
    except (OSError, ValueError, RuntimeError, TypeError, ImportError, AttributeError) as error:
        said = " ".join(str(error).split())
        raise VidsslError(f"{where} transformers cannot read it: {said[:400]}; repair the folder") from error
    adapted = Adapted(Tokens(model, kind, grid), shape, name=encoder, frames=kind == "vit")
    adapted.minimum = adapted.made_for
    adapted.maximum = adapted.made_for
    if (preprocessor := folder / "preprocessor_config.json").is_file():
        about = _read(preprocessor, where)
        adapted.mean, adapted.std = (_colors(about, key, where) for key in ("image_mean", "image_std"))
    return adapted


def _build(folder: Path, kind: str, drop_path: float | None, *, new_weights: bool) -> tuple[nn.Module, Any]:
    """The model, of which nothing stays that its tokens do not need, and its config.

    Raises ValueError if the weights lack some of the encoder's.
    """
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if kind == "vjepa2" and drop_path is not None:
        config.drop_path_rate = drop_path
    more: dict[str, Any] = {"add_pooling_layer": False} if kind == "vit" else {}
    more |= {"trust_remote_code": False, "dtype": torch.float32}
    if new_weights:
        model = AutoModel.from_config(config, **more)
    else:
        with _quiet():
            model, info = AutoModel.from_pretrained(
                folder, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True, **more
            )
        if missing := sorted(name for name in info["missing_keys"] if kind != "vjepa2" or name.startswith("encoder.")):
            raise ValueError(f"its weights lack {len(missing)} of the encoder's tensors, such as {missing[0]}")
    model = model.encoder if kind == "vjepa2" else model
    if kind != "vjepa2" and drop_path is not None:
        _add_drop_path(_blocks(model)[1], drop_path)
    return model.train(), config


def _blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """The blocks of a transformer, which are its only list of modules, with the list's name."""
    return next((name, part) for name, part in model.named_modules() if isinstance(part, nn.ModuleList))


def _add_drop_path(blocks: nn.ModuleList, rate: float) -> None:
    """Puts drop path behind the dropout in which each branch of a block ends. Names of weights stay."""
    for block, its in zip(blocks, drop_path_rates(rate, len(blocks)), strict=True):
        for end in ("",) if hasattr(block, "dropout") else ("attention.output", "output"):
            branch = block.get_submodule(end)
            branch.dropout = nn.Sequential(branch.get_submodule("dropout"), DropPath(its))


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar, and no report of the weights of heads that are left out."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _grid(config: Any, kind: str, shape: tuple[int, int, int, int], where: str) -> tuple[int, int, int]:
    """(t, h, w) of the tokens of clips. Raises VidsslError if the model takes other clips."""
    channels, *size = shape
    jepa = kind == "vjepa2"
    has = config.in_chans if jepa else config.num_channels
    height, width = _pair(config.crop_size if jepa else config.image_size)
    rows, columns = _pair(config.patch_size)
    tubelet = 1 if kind == "vit" else config.tubelet_size
    frames = config.num_frames if kind == "videomae" else size[0] - size[0] % tubelet or tubelet
    if (has, frames, height, width) != shape:
        raise VidsslError(
            f"{where} it takes clips of {frames} x {height} x {width} (frames x height x width) in {has} channels, and "
            f"the task shows it {' x '.join(map(str, size))} in {channels}; take clips of that size (--clip-length, "
            "--crop), or another encoder"
        )
    return 1 if kind == "vit" else frames // tubelet, height // rows, width // columns


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _read(path: Path, where: str) -> dict[str, Any]:
    try:
        found = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise VidsslError(
            f"{where} {path.name}: {getattr(error, 'strerror', None) or error}; name a folder that save_pretrained of "
            "transformers wrote"
        ) from error
    if not isinstance(found, dict):
        raise VidsslError(f"{where} {path.name} holds no settings; write it again with save_pretrained")
    return found


def _colors(about: dict[str, Any], key: str, where: str) -> tuple[float, float, float] | None:
    found = about.get(key)
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != 3 or not all(type(one) in (int, float) for one in found):
        raise VidsslError(f"{where} preprocessor_config.json: {key} is {found!r}; write three numbers")
    return float(found[0]), float(found[1]), float(found[2])
