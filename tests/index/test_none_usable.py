"""An index of which no video can be used is refused by whatever needs a video, with the reason of the first one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vidssl import FrameStore, Loader, VideoIndex, VidsslError
from vidssl.evaluate.audit import audit
from vidssl.evaluate.features import Clips, extract
from vidssl.kernels.augment import Augment
from vidssl.loader.profile import profile
from vidssl.models import r3d_tiny
from vidssl.pretext import Vcop
from vidssl.recipes import RECIPES
from vidssl.train.train import train

RECIPE = RECIPES["vcop_r3d_tiny"]()
USES: dict[str, Callable[[VideoIndex, Path], object]] = {
    "Loader": lambda index, _: Loader(index, Vcop(), batch_size=2, device="cpu"),
    "train": lambda index, out: train(RECIPE, index, out / "run", device="cpu", quiet=True),
    "audit": lambda index, _: audit(RECIPE, index, name="vcop_r3d_tiny", tuples=50, device="cpu"),
    "fill": lambda index, out: FrameStore(out / "store").fill(index),
    "extract": lambda index, _: extract([r3d_tiny()], index, Clips(augment=Augment()), device="cpu", progress=False),
    "profile": lambda index, _: profile(index, Vcop(), workers=1, windows=2, seed=0),
}


@pytest.mark.parametrize("use", USES)
def test_the_number_and_the_first_reason_are_named(use: str, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "videos" / name).write_bytes(b"no video")
    index = VideoIndex.build(tmp_path / "videos", progress=False)
    assert (len(index), len(index.usable())) == (2, 0)
    with pytest.raises(VidsslError, match=r"none of its 2 videos .*; for instance a\.mp4: FFmpeg cannot open it"):
        USES[use](index, tmp_path)
    with pytest.raises(VidsslError, match=r"none of its 0 videos .* the index is empty"):
        USES[use](index.select([]), tmp_path / "empty")
