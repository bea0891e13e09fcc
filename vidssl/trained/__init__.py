"""Uses a trained encoder: features of videos, and files for other programs.

| file | what it does |
|---|---|
| encoder.py | `load`: a run, checkpoint or export as a `TrainedEncoder`, from frames to features |
| export.py | `export`: the encoder as safetensors, ONNX or a program of torch.export |
| table.py | `write_features`: the features of a data set as a file |
"""

from __future__ import annotations

from vidssl.trained.encoder import TrainedEncoder, load
from vidssl.trained.export import export
from vidssl.trained.table import write_features

__all__ = ["TrainedEncoder", "export", "load", "write_features"]
