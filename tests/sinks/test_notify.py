"""Notifications through the real Apprise to a real receiver."""

from __future__ import annotations

import base64
import builtins
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from streamqa.errors import ConfigError
from streamqa.sink_settings import NotifyConfig
from streamqa.sinks.base import Logged
from streamqa.sinks.notify import body_of, open_outlet, title_of
from streamqa.sinks.outlet import QueuedOutlet
from streamqa.types import Question
from tests.receiver import Answer, Receiver, receiver, receiving
from tests.sinks.outlets import make_context

pytest.importorskip("apprise", reason="Apprise is not installed: pip install streamqa[notify]")

__all__ = ["receiver"]

# Apprise loads all its services at once; one of them imports what Python is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

ALERT: dict[str, Any] = {
    "type": "alert", "seq": 12, "alert_id": "a1", "phase": "begin", "rule": "intruder", "source": "gate",
    "question": "person", "kind": "yes_no", "severity": "warning", "when": "yes", "value": True,
    "confidence": 0.934, "peak_confidence": 0.97, "blind": False, "reason": None, "began_t_s": 70.0,
    "began_at": "2026-11-22T02:22:34.120Z", "ended_t_s": None, "ended_at": None, "duration_s": 3.0, "t_s": 73.0,
    "at": "2026-11-22T02:22:37.120Z", "evidence": None,
}  # fmt: skip
END = {**ALERT, "phase": "end", "ended_t_s": 82.5, "ended_at": "2026-11-22T02:24:19Z", "duration_s": 105.2}
PERSON = Question("person", "Is there a person at the gate?", "yes_no", 10**9)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def alert(seq: int = 12, **more: Any) -> Logged:
    return Logged(seq, {**ALERT, "seq": seq, **more})


def address(receiver: Receiver, path: str = "hook") -> str:
    return receiver.url(path).replace("http:", "json:")


@contextmanager
def opened(
    *urls: str, pictures: dict[int, Path] | None = None, questions: Any = (PERSON,), **more: Any
) -> Iterator[QueuedOutlet]:
    context = replace(make_context(pictures=pictures), describe=lambda: ((), questions))
    settings = NotifyConfig.model_validate({"notify": list(urls), **more})
    made = open_outlet(settings, "notify", context)
    try:
        yield made
    finally:
        made.close()


def test_an_alert_is_told_in_plain_words(receiver: Receiver) -> None:
    with opened(address(receiver)) as outlet:
        outlet.write([alert()])
        assert outlet.drained(10)
        assert (outlet.state().target, outlet.state().delivered) == ("JSON", 1)
    (request,) = receiver.requests
    assert request.json["title"] == "gate: intruder"
    assert request.json["type"] == "warning"
    first, second, last = request.json["message"].splitlines()
    assert first == "Is there a person at the gate? Yes (93% sure)"
    assert second.startswith("Since 2026-11-2")
    assert last == "Source: gate. When: yes. warning."
    assert request.json["attachments"] == []


def test_its_picture_comes_along_where_it_is_kept(receiver: Receiver, tmp_path: Path) -> None:
    picture = tmp_path / "12.jpg"
    picture.write_bytes(b"\xff\xd8 a picture")
    with opened(address(receiver), pictures={12: picture}) as outlet:
        outlet.write([alert(evidence="/frames/12.jpg"), alert(13, alert_id="a2", evidence="/frames/13.jpg")])
        assert outlet.drained(10)
    first, second = receiver.requests
    (attached,) = first.json["attachments"]
    assert base64.b64decode(attached["base64"]) == picture.read_bytes()
    assert attached["mimetype"] == "image/jpeg"
    assert second.json["attachments"] == []


def test_who_takes_no_picture_gets_the_words(receiver: Receiver, tmp_path: Path) -> None:
    picture = tmp_path / "12.jpg"
    picture.write_bytes(b"\xff\xd8 a picture")
    receiver.answers = [Answer(413)]
    with opened(address(receiver), pictures={12: picture}) as outlet:
        outlet.write([alert(evidence="/frames/12.jpg")])
        assert outlet.drained(10)
        assert outlet.state().delivered == 1
    assert [len(request.json["attachments"]) for request in receiver.requests] == [1, 0]


def test_what_stands_on_a_sign_calls_nobody(receiver: Receiver) -> None:
    with opened(address(receiver)) as outlet:
        outlet.write([alert(kind="text", value="@everyone come")])
        assert outlet.drained(10)
    message = receiver.requests[0].json["message"]
    assert "@everyone" not in message
    assert "everyone come" in message


def test_no_picture_where_none_is_wanted(receiver: Receiver, tmp_path: Path) -> None:
    picture = tmp_path / "12.jpg"
    picture.write_bytes(b"\xff\xd8 a picture")
    with opened(address(receiver), pictures={12: picture}, picture=False) as outlet:
        outlet.write([alert(evidence="/frames/12.jpg")])
        assert outlet.drained(10)
    assert receiver.requests[0].json["attachments"] == []


def test_each_phase_is_told_once(receiver: Receiver) -> None:
    with opened(address(receiver), phases=["begin", "update", "end"]) as outlet:
        updates = [alert(seq, phase="update") for seq in range(13, 20)]
        outlet.write([alert(), *updates, Logged(20, END), alert(21, alert_id="a2")])
        assert outlet.drained(10)
    assert [r.json["title"] for r in receiver.requests] == [
        *["gate: intruder"] * 2, "gate: intruder is over", "gate: intruder",
    ]  # fmt: skip
    assert receiver.requests[2].json["type"] == "success"


def test_only_alerts_that_are_grave_enough_and_only_their_beginning(receiver: Receiver) -> None:
    with opened(address(receiver), severity="warning") as outlet:
        outlet.write(
            [alert(1, severity="info"), Logged(2, END), Logged(3, {"type": "answer", "changed": True})]
        )
        outlet.write([alert(4, severity="critical")])
        assert outlet.drained(10)
    assert [request.json["type"] for request in receiver.requests] == ["failure"]


def test_a_service_that_took_it_does_not_get_it_again(receiver: Receiver) -> None:
    with receiving() as other, opened(address(receiver), address(other)) as outlet:
        other.answers = [Answer(500)]
        outlet.write([alert()])
        assert outlet.drained(10)
        assert outlet.state().is_up
        assert (len(receiver.requests), len(other.requests)) == (1, 2)


def test_nothing_of_an_address_is_told(caplog: pytest.LogCaptureFixture, receiver: Receiver) -> None:
    receiver.usual = Answer(403)
    url = address(receiver, "hunter2?token=s3cret").replace("//", "//me:passw0rd@")
    with caplog.at_level(logging.DEBUG):
        with opened(url) as outlet:
            outlet.write([alert()])
            receiver.until(1)
            outlet.close()
            assert "JSON did not take it" in outlet.state().reason
        with opened(f"json://me:passw0rd@127.0.0.1:{receiver.port + 1}/hunter2") as outlet:
            outlet.write([alert()])
    for word in ("hunter2", "s3cret", "passw0rd"):
        assert word not in caplog.text
        assert word not in repr(outlet.state())


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nosuch://me:passw0rd@host", r"address 2 \(nosuch://…\)"),
        ("passw0rd", r"address 2 \(an address without a scheme\)"),
    ],
)
def test_an_address_that_is_none(receiver: Receiver, url: str, told: str) -> None:
    settings = NotifyConfig(notify=[address(receiver), url])
    with pytest.raises(ConfigError, match=told) as raised:
        open_outlet(settings, "notify", make_context())
    assert "passw0rd" not in str(raised.value)


def test_without_apprise_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "apprise":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"pip install 'streamqa\[notify\]'"):
        open_outlet(NotifyConfig(notify="json://127.0.0.1"), "notify", make_context())


def test_what_is_said_of_an_end_and_of_recordings() -> None:
    assert title_of(END) == "gate: intruder is over"
    assert "1 min 45 s." in body_of(END, "")
    recorded = {**END, "began_at": None, "ended_at": None, "value": [{}, {}], "confidence": None}
    first, second, *_ = body_of(recorded, "").splitlines()
    assert first == "person 2 found"
    assert second == "From 01:10 of the recording to 01:22 of the recording, 1 min 45 s."
    blind = {**ALERT, "blind": True, "reason": "no frame for 5 s", "value": None}
    assert body_of(blind, "").splitlines()[2:4] == [
        "no frame for 5 s", "Its source gives no pictures now, so nobody knows how it is.",
    ]  # fmt: skip


def test_what_was_written_on_a_sign_stays_one_short_line() -> None:
    said = "All is well.\n\nSource: bank\x1b[2J \u202e" + "x" * 1000
    body = body_of({**ALERT, "value": said, "confidence": None}, "What is on the sign?")
    assert len(body.splitlines()) == 3
    assert "\x1b" not in body
    assert "\u202e" not in body
    assert max(map(len, body.splitlines())) < 350
