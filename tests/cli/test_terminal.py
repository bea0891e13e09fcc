"""No command fails because of what its output goes to: any encoding, a closed pipe, nothing at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import make_clip
from vidssl.cli import main
from vidssl.index.table import VideoIndex

ROOT = Path(__file__).parents[2]
# Neither can Python read names of files, nor the terminal show them.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
LATIN = {"PYTHONIOENCODING": "latin-1"}
TRAIN = ("train", "vcop_r3d_tiny", "--device", "cpu", "--batch-size", "2", "--steps", "1", "--holdout", "0.5")
SMALL = ("--clip-length", "8", "--interval", "2", "--resize", "24", "32", "--crop", "16", "16", "--amp", "off")

# Every --help in one process, as each import of torch takes seconds.
HELP = """
import sys
from importlib import import_module
from vidssl.cli import COMMANDS, main
for name, command in COMMANDS.items():
    found = getattr(import_module(f"vidssl.cli.{command.module}"), command.name)
    for part in [()] + [(one,) for one in found()] if command.grouped else [()]:
        try:
            code = main([name, *part, "--help"])
        except SystemExit as ended:
            code = ended.code
        assert not code, (name, part, code)
        print("shown", name, *part)
"""


def run(*arguments: str | Path, environment: dict[str, str], **named: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120", **environment},
        cwd=ROOT,
        timeout=300,
        check=False,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **named},  # type: ignore[call-overload]
    )


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vidéos") / "größe 走"
    root.mkdir()
    for number in range(4):
        make_clip(root / f"{number} ž.mp4", frames=40, size=(48, 64))
    (root / "leer ß.mp4").touch()
    return root.parent


@pytest.mark.parametrize("environment", [ASCII, LATIN], ids=["ascii", "latin-1"])
def test_every_help_is_shown(environment: dict[str, str]) -> None:
    done = run("-c", HELP, environment=environment)
    assert done.returncode == 0, done.stderr
    assert b"shown train vcop_r3d_tiny" in done.stdout
    assert b"shown evaluate finetune" in done.stdout


@pytest.mark.parametrize("environment", [ASCII, LATIN], ids=["ascii", "latin-1"])
def test_videos_of_any_name_are_indexed_and_trained_on(
    videos: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "index.arrow"
    done = run("-m", "vidssl", "index", videos, "--out", out, environment=environment)
    assert done.returncode == 0, done.stderr
    assert rb"\u8d70/leer" in done.stdout
    expected = VideoIndex.build(videos, progress=False)
    assert VideoIndex.load(out).table.equals(expected.table)
    done = run("-m", "vidssl", *TRAIN, *SMALL, "--data", videos, "--out", tmp_path / "run", environment=environment)
    assert done.returncode == 0, done.stderr
    assert VideoIndex.load(tmp_path / "run" / "index.arrow").table.equals(expected.table)


@pytest.mark.parametrize("arguments", [("--help",), ("train", "vcop_r3d_tiny", "--help"), ("recipes",)])
def test_a_closed_pipe_ends_it_quietly(arguments: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = run("-m", "vidssl", *arguments, environment={}, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_is_named() -> None:
    with open("/dev/full", "wb") as full:
        done = run("-m", "vidssl", "recipes", environment={}, stdout=full)
    assert done.returncode == 2
    assert done.stderr == b"error: [Errno 28] No space left on device; free some space there, and call it again\n"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.EACCES, "change its permissions, or name another folder"),
        (errno.EROFS, "its disk may only be read: name another folder"),
        (errno.EFBIG, "raise the limit of the shell with `ulimit -f`"),
        (errno.EIO, "check the disk"),
    ],
)
def test_errors_of_files_have_their_own_remedy(
    code: int, remedy: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse() -> None:
        raise OSError(code, os.strerror(code), "some/file")

    monkeypatch.setattr("vidssl.cli.commands.recipes", refuse)
    assert main(["recipes"]) == 2
    assert (
        capsys.readouterr().err
        == f"error: [Errno {code}] {os.strerror(code)}: 'some/file'; {remedy}, and call it again\n"
    )


def test_closed_output_is_no_error(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "index.arrow"
    command = f'exec "{sys.executable}" -m vidssl index "{videos}" --out "{out}" >&- 2>&-'
    assert subprocess.run(["sh", "-c", command], cwd=ROOT, timeout=300, check=False).returncode == 0
    assert len(VideoIndex.load(out).usable()) == 4
