"""A file is replaced as a whole or not at all, also when the process is killed in between."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamqa.errors import StreamQAError
from streamqa.replacing import replacing


def test_the_new_text_takes_the_place_of_the_old_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    path.chmod(0o640)
    with replacing(path, b"new"):
        assert path.read_text() == "old"
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    assert os.listdir(tmp_path) == ["a.json"]


def test_a_new_file_is_its_owners_only(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.json", b"new"):
        assert os.listdir(tmp_path) == [".a.json.new"]
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o600


def test_after_an_exception_nothing_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path, b"new"):
        _ = 1 // 0
    with pytest.raises(OSError, match="not ours"), replacing(path, None):
        raise OSError("not ours")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.json"]


def test_nothing_in_its_place_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    for _ in range(2):
        with replacing(path, None):
            pass
        assert os.listdir(tmp_path) == []


def test_what_a_link_points_at_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.json").write_text("old")
    (tmp_path / "a.json").symlink_to("real/a.json")
    with replacing(tmp_path / "a.json", b"new"):
        pass
    assert (tmp_path / "a.json").is_symlink()
    assert (tmp_path / "real" / "a.json").read_text() == "new"


@pytest.mark.parametrize("data", [b"new", None])
def test_a_folder_that_is_not_there_is_told_before_the_block(tmp_path: Path, data: bytes | None) -> None:
    with (
        pytest.raises(StreamQAError, match=r"a\.json cannot be written .*nothing has been changed"),
        replacing(tmp_path / "gone" / "a.json", data),
    ):
        pytest.fail("the block was entered")


KILLED = """
import os, signal, sys
from pathlib import Path
from streamqa.replacing import replacing

with replacing(Path(sys.argv[1]), b"new" * 10_000):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_in_the_block_leaves_the_old_file_and_the_next_one_takes_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=60).returncode == -9
    assert path.read_text() == "old"
    with replacing(path, b"newer"):
        pass
    assert path.read_text() == "newer"
    assert os.listdir(tmp_path) == ["a.json"]
