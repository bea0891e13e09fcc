"""What the tests of commands share."""

from pathlib import Path

import pytest

from tests.clips import make_clip


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    for name in ("a", "b"):
        make_clip(tmp_path / "videos" / f"{name}.mp4", frames=20)
    return tmp_path / "videos"
