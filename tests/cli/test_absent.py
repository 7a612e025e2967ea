import threading

from streamqa.cli.absent import Absent
from streamqa.errors import SourceRefused, SourceUnavailable
from streamqa.sinks.base import Logged


def state(source: str, state: str, reason: str = "") -> Logged:
    return Logged(1, {"type": "source", "source": source, "state": state, "reason": reason})


def test_a_camera_that_was_never_there_ends_the_line() -> None:
    stop = threading.Event()
    absent = Absent(["cam"], stop)
    absent.write([state("cam", "connecting"), state("cam", "stalled", "no frame for 5 s")])
    assert not stop.is_set()
    absent.write([state("cam", "reconnecting", "connection refused")])
    assert stop.is_set()
    assert absent.gave_up
    assert isinstance(absent.failures["cam"], SourceUnavailable)
    assert str(absent.failures["cam"]) == "connection refused"


def test_a_camera_that_was_there_is_waited_for() -> None:
    stop = threading.Event()
    absent = Absent(["cam"], stop)
    absent.write([state("cam", "live"), state("cam", "reconnecting", "the stream ended")])
    absent.write([Logged(2, {"type": "error", "message": "x"})])
    assert not stop.is_set()
    assert absent.failures == {}


def test_others_are_heard_out() -> None:
    stop = threading.Event()
    absent = Absent(["cam", "clip"], stop)
    absent.write([state("cam", "refused", "wrong password"), state("clip", "live")])
    assert not stop.is_set()
    absent.write([state("clip", "ended", "end")])
    assert stop.is_set()
    assert list(absent.failures) == ["cam"]
    assert isinstance(absent.failures["cam"], SourceRefused)


def test_one_that_comes_late_is_no_failure() -> None:
    stop = threading.Event()
    absent = Absent(["cam", "other"], stop)
    absent.write([state("cam", "reconnecting", "x"), state("cam", "live"), state("other", "ended", "end")])
    assert absent.failures == {}
    assert not stop.is_set()


def test_who_was_stopped_by_somebody_else_did_not_give_up() -> None:
    stop = threading.Event()
    absent = Absent(["cam"], stop)
    stop.set()
    absent.write([state("cam", "reconnecting", "x")])
    assert not absent.gave_up
