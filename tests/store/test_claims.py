"""A claim keeps other threads and processes away, and ends with its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vidssl.store import claims
from vidssl.store.claims import FILE, Claims


def test_one_has_it_until_it_is_released(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    assert one.take(b"a")
    assert not one.take(b"a")  # another thread of the same process
    assert not other.take(b"a")
    assert other.take(b"b")
    one.release(b"a")
    assert (tmp_path / FILE).exists()  # b is claimed
    assert one.take(b"a")
    for held, name in ((one, b"a"), (other, b"b")):
        held.release(name)
    assert not (tmp_path / FILE).exists()
    assert other.take(b"a")


def test_a_deleted_file_is_made_again(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    assert one.take(b"a")
    assert not other.take(b"a")  # it has the file open now
    one.release(b"a")  # deletes it
    assert other.take(b"a")
    assert not one.take(b"a")


def test_a_killed_process_has_no_claims(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from vidssl.store.claims import Claims;"
        "one = Claims(Path(sys.argv[1])); one.take(b'a'); print('ready', flush=True); time.sleep(100)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    mine = Claims(tmp_path)
    assert not mine.take(b"a")
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert mine.take(b"a")
    mine.release(b"a")
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_has_no_claims(tmp_path: Path) -> None:
    one = Claims(tmp_path)
    assert one.take(b"a")
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, b"no" if one._held or one._handle is not None else b"ok")
        os.read(read, 0)
        os._exit(0)
    assert os.read(read, 2) == b"ok"
    os.waitpid(child, 0)
    one.release(b"a")
    assert list(tmp_path.iterdir()) == []


def test_without_locks_everybody_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_lock", lambda *_: None)
    one, other = Claims(tmp_path), Claims(tmp_path)
    assert one.take(b"a")
    assert other.take(b"a")
    assert (one.certain, other.certain) == (False, False)
    one.release(b"a")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        Claims(tmp_path / "missing").take(b"a")
