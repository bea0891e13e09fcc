"""Features of every video, from a trained run.

python examples/features.py --run RUN --data VIDEOS --out features.npz
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tyro

import vidssl
from vidssl import VideoIndex


def main(run: Path, data: Path, out: Path, *, clips: int = 10) -> None:
    """Write feature float32 [videos, D] and path [videos].

    Args:
        run: Folder that `vidssl train` wrote, or one of its checkpoints.
        data: Folder of videos.
        out: File (.npz) to write.
        clips: Clips of each video, whose features are averaged.
    """
    index = VideoIndex.build(data)
    features = vidssl.load(run).extract(index, clips=clips)
    paths = index.select(features.row).column("path").to_pylist()
    np.savez(out, feature=features.feature.numpy(), path=np.array(paths))
    print(f"wrote {out}: {list(features.feature.shape)}")


if __name__ == "__main__":
    tyro.cli(main)
