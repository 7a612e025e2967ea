import threading
from contextlib import closing
from pathlib import Path

import pytest

from streamqa.capture.source import SourceSpec
from streamqa.errors import SourceError, StreamQAError
from streamqa.metrics import Metrics
from streamqa.pipeline import Parts
from streamqa.recorded import answer_all
from streamqa.sinks.log import AnswerLog
from tests.clips import PERSON, bright_model, bright_when
from tests.test_pipeline import Kept


def answers(parts_sources: list[SourceSpec], kept: Kept, stop: threading.Event) -> dict[str, StreamQAError]:
    with closing(AnswerLog(":memory:")) as log:
        parts = Parts((PERSON,), tuple(parts_sources), bright_model(), log, (kept,), Metrics())
        return answer_all(parts, stop)


def test_recordings_are_answered_one_after_the_other_and_a_bad_one_costs_only_itself(tmp_path: Path) -> None:
    first = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    second = bright_when(tmp_path / "b.mp4", lambda t_s: False)
    (tmp_path / "bad.mp4").write_text("not a video")
    kept = Kept()
    specs = [SourceSpec(path.stem, str(path)) for path in (first, tmp_path / "bad.mp4", second)]
    failures = answers(specs, kept, threading.Event())
    assert [answer["source"] for answer in kept.of("answer")] == ["a"] * 10 + ["b"] * 10
    assert list(failures) == ["bad"]
    assert isinstance(failures["bad"], SourceError)
    assert [record.seq for record in kept.records] == list(range(1, len(kept.records) + 1))


def test_live_sources_run_side_by_side_until_told_to_stop(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    specs = [SourceSpec(name, str(clip), pace="realtime", loop=True) for name in ("x", "y")]
    kept, stop = Kept(), threading.Event()
    threading.Timer(1.5, stop.set).start()
    assert answers(specs, kept, stop) == {}
    assert {answer["source"] for answer in kept.of("answer")} == {"x", "y"}


def test_a_stop_before_the_start_answers_nothing(tmp_path: Path) -> None:
    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    kept, stop = Kept(), threading.Event()
    stop.set()
    assert answers([SourceSpec("a", str(clip))], kept, stop) == {}
    assert kept.records == []


def test_a_log_that_fails_is_an_error_of_the_whole(tmp_path: Path) -> None:
    class Full(Kept):
        def write(self, records: object) -> None:
            raise OSError("no space left on device")

    clip = bright_when(tmp_path / "a.mp4", lambda t_s: True)
    with pytest.raises(StreamQAError, match="no space left"):
        answers([SourceSpec("a", str(clip))], Full(), threading.Event())
