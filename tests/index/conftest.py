"""What several tests of the index share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clips import make_clip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four videos of 6 to 9 frames."""
    root = tmp_path / "videos"
    root.mkdir()
    for number in range(4):
        make_clip(root / f"{number}.mp4", frames=6 + number)
    return root
