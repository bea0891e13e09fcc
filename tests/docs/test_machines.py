"""The picture of a run on two machines is what its code draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from docs.tools import machines
from docs.tools.pages import ROOT


def test_the_committed_picture_is_drawn_by_the_code(tmp_path: Path) -> None:
    machines.draw(tmp_path / "machines.png")
    with Image.open(tmp_path / "machines.png") as now, Image.open(ROOT / "docs/machines.png") as then:
        assert np.array_equal(np.asarray(now), np.asarray(then))
