"""Pictures beside the log: kept under their record's number, shown by this log only, and deleted in time."""

from __future__ import annotations

import io
import shutil
import stat
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streamqa.sinks.evidence import EvidenceStore
from streamqa.sinks.log import AnswerLog, LogSettings
from streamqa.sinks.retention import Keeping
from tests.sinks.records import AT, answer, ms, picture

KEPT = LogSettings(evidence=Keeping())


def test_an_answers_picture_is_kept_under_its_number(tmp_path: Path) -> None:
    with closing(AnswerLog(tmp_path / "a.db", KEPT)) as log:
        logged = log.append([answer(0), answer(1, picture=picture(200)), answer(2)])
        assert [item.payload["evidence"] for item in logged] == [None, "/frames/2.jpg", None]
        assert log.read(1, 1)[0].payload["evidence"] == "/frames/2.jpg"
        path = log.evidence(2)
        assert path is not None
        seen = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
        assert seen.shape == (48, 64, 3)
        assert abs(int(seen.mean()) - 200) <= 2
        assert log.evidence(1) is None
        assert log.evidence(99) is None
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "a.db.frames").stat().st_mode) == 0o700
    with closing(AnswerLog(tmp_path / "a.db", KEPT)) as log:
        assert log.evidence(2) is not None


def test_none_is_kept_in_memory_or_where_it_is_switched_off(tmp_path: Path) -> None:
    for path, settings in ((":memory:", KEPT), (str(tmp_path / "a.db"), LogSettings())):
        with closing(AnswerLog(path, settings)) as log:
            assert log.append([answer(0, picture=picture())])[0].payload["evidence"] is None
    assert not (tmp_path / "a.db.frames").exists()


def test_another_log_at_the_same_path_shows_no_foreign_picture(tmp_path: Path) -> None:
    with closing(AnswerLog(tmp_path / "a.db", KEPT)) as log:
        log.append([answer(0, picture=picture())])
    for name in ("a.db", "a.db-wal", "a.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with closing(AnswerLog(tmp_path / "a.db", KEPT)) as log:
        log.append([answer(0)])
        assert log.evidence(1) is None
    assert not list((tmp_path / "a.db.frames").glob("*/*/*.jpg"))


def test_a_picture_whose_record_was_never_written_is_forgotten(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, "id", 0)
    for seq in (1, 2, 3):
        store.put(seq, picture(), 0)
    again = EvidenceStore(tmp_path, "id", 2)
    assert again.path(2) is not None
    assert again.path(3) is None
    again.forget(2)
    assert again.path(2) is None
    assert again.size_bytes == again.path(1).stat().st_size  # type: ignore[union-attr]


def test_pictures_go_by_age_by_size_and_with_their_records(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path, "id", 0)
    for seq in range(1, 11):
        store.put(seq * 500, picture(), seq * 1000)
    each = store.size_bytes // 10
    assert store.trim(0, None, None) == 0
    assert store.trim(1001, None, None) == 2
    assert store.trim(0, 4000, None) == 1
    assert store.trim(0, None, 5 * each) == 2
    assert [seq for seq in range(1, 11) if store.path(seq * 500)] == [6, 7, 8, 9, 10]
    assert not (tmp_path / "id" / "0").exists()  # its folder is gone with its last picture


def test_retention_of_a_log_deletes_pictures(tmp_path: Path) -> None:
    settings = LogSettings(evidence=Keeping(age_ms=60_000))
    with closing(AnswerLog(tmp_path / "a.db", settings)) as log:
        log.append([answer(n * 50, picture=picture()) for n in range(3)])
        assert log.housekeep(ms(AT + timedelta(seconds=130))) == (0, 2)
        assert [log.evidence(seq) is not None for seq in (1, 2, 3)] == [False, False, True]


def test_a_picture_that_cannot_be_written_is_counted_and_its_record_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(AnswerLog(tmp_path / "a.db", KEPT)) as log:
        shutil.rmtree(tmp_path / "a.db.frames")
        (tmp_path / "a.db.frames").write_text("in the way")
        (logged,) = log.append([answer(0, picture=picture())])
        assert logged.payload["evidence"] is None
        assert log.evidence_failed == 1
