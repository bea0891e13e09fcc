from pathlib import Path

import pytest

from benchmarks.bench_install import python_of, size
from vidssl.types import VidsslError


def test_a_wheel_names_its_python() -> None:
    assert python_of(Path("dist/vidssl-0.1.0-cp312-cp312-manylinux_2_35_x86_64.whl")) == "python3.12"
    for name in ("vidssl-0.1.0-py3-none-any.whl", "vidssl-0.1.0-cp310-abi3-manylinux_2_35_x86_64.whl", "clips.csv"):
        with pytest.raises(VidsslError, match="make wheel"):
            python_of(Path(name))


def test_size_counts_files_and_no_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"123")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/b").write_bytes(b"12345")
    (tmp_path / "again").symlink_to("a")
    assert size(tmp_path) == 8
