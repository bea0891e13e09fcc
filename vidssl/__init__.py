"""vidssl: self-supervised learning from video, from bitstream to batch in device memory.

The names that others call: VideoIndex, Mixture, FrameStore, Loader, Batch, PlanSpec and Augment, tables of common tasks
(labelled_clips, two_views, views, masked_clips with tube_masks), ops (motion, reduce, plan, assemble on any DLPack
array), pretext.METHODS, models.ENCODERS, load (a trained encoder), split, estimate. They are imported when first used,
so that `import vidssl` is quick.

Each folder's docstring has a table of its files. The modules beside the folders:

| file | what it does |
|---|---|
| types.py | the nouns that all folders share: frames, plans, batches, errors |
| paths.py | where files may be read and written; how names are printed; a wrong output file |
| files.py | opens files that vidssl did not write: only regular ones, up to a size |
| deadline.py, workers.py | the time limit of a file; threads that survive a file that hangs |
| awake.py | a clock for limits of time, which stands still while the process is stopped |
| native.py | the compiled module and the DALI plugin |
| arrays.py, device.py | arrays of numpy, torch and cupy alike; names of devices |
| ops.py | motion, reduce, plan and assemble as functions |
| reference.py | the slow truth: what the kernels compute, for reading and for tests |
| versions.py | versions, for results |
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

try:
    __version__ = version("vidssl")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

_HOMES = {
    "Augment": "vidssl.kernels.augment",
    "Batch": "vidssl.types",
    "FrameStore": "vidssl.store",
    "Loader": "vidssl.loader",
    "Mixture": "vidssl.index.mixture",
    "PlanSpec": "vidssl.kernels.plan",
    "TrainedEncoder": "vidssl.trained",
    "VideoIndex": "vidssl.index.table",
    "VidsslError": "vidssl.types",
    "estimate": "vidssl.forecast",
    "labelled_clips": "vidssl.kernels.views",
    "load": "vidssl.trained",
    "masked_clips": "vidssl.kernels.views",
    "split": "vidssl.index.holdout",
    "tube_masks": "vidssl.kernels.views",
    "two_views": "vidssl.kernels.views",
    "views": "vidssl.kernels.views",
}
_MODULES = ("models", "ops", "pretext")

__all__ = [
    "Augment",
    "Batch",
    "FrameStore",
    "Loader",
    "Mixture",
    "PlanSpec",
    "TrainedEncoder",
    "VideoIndex",
    "VidsslError",
    "__version__",
    "estimate",
    "labelled_clips",
    "load",
    "masked_clips",
    "models",
    "ops",
    "pretext",
    "split",
    "tube_masks",
    "two_views",
    "views",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"vidssl.{name}")
    raise AttributeError(f"module 'vidssl' has no attribute {name!r}")
