import json
from typing import Any

import pytest
from pydantic import ValidationError

from streamqa.hours import parse_hours
from streamqa.question_settings import QuestionConfig
from streamqa.settings import SourceConfig, first_mistake, is_of_other_form, written_path
from streamqa.types import NS_PER_S, Box, Point


def test_a_source_with_everything() -> None:
    source = SourceConfig.model_validate(
        {
            "url": "rtsp://h/a",
            "zone": [0, 0.5, 1, 1],
            "mask": [[0, 0, 0.25, 1], [0.5, 0.5, 0.75, 0.75]],
            "when": "22:00-06:00 Europe/Rome",
            "stall_after": "3s",
            "frozen_after": "off",
            "transport": "udp",
        }
    )
    assert source.zone is not None
    assert source.zone.corners == (Point(0, 0.5), Point(1, 0.5), Point(1, 1), Point(0, 1))
    assert source.mask == [Box(0, 0, 0.25, 1), Box(0.5, 0.5, 0.75, 0.75)]
    assert source.when == parse_hours("22:00-06:00 Europe/Rome")
    assert (source.stall_after, source.frozen_after, source.pace) == (3 * NS_PER_S, 0, None)


def test_a_question_with_a_polygon() -> None:
    question = QuestionConfig.model_validate(
        {"ask": "Is it open?", "zone": [[0, 0], [0.5, 0], [0.25, 0.5]], "max_age": "4s"}
    ).question("open")
    assert question.zone is not None
    assert question.zone.corners == (Point(0, 0), Point(0.5, 0), Point(0.25, 0.5))
    assert question.zone.box == Box(0, 0, 0.5, 0.5)
    assert question.max_age_ns == 4 * NS_PER_S


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("zone", [0, 0, 1], "write 4 numbers"),
        ("zone", [0.5, 0, 0.5, 1], "left < right"),
        ("zone", [0, 0, 1.5, 1], "from 0 to 1"),
        ("zone", [[0, 0], [1, 1]], "at least 3 corners"),
        ("zone", [[0, 0], [1, 0], [1, 2]], "from 0 to 1"),
        ("zone", [[0, 0], [0.5, 0], [1, 0]], "must not be empty"),
        ("zone", "all", "left, top, right, bottom"),
        ("mask", [[0, 0, 0, 1]], "left < right"),
        ("mask", [True], "write 4 numbers"),
        ("when", "at night", "write hours as in"),
        ("when", 22, "write hours as in"),
        ("frozen_after", "never", "never"),
        ("size", "720p", "pattern"),
        ("fourcc", "MJPEG", "pattern"),
        ("fps", 0, "greater than 0"),
    ],
)
def test_what_a_source_cannot_be(key: str, value: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        SourceConfig.model_validate({"url": "rtsp://h/a", key: value})


def test_settings_of_one_kind_of_source() -> None:
    webcam = SourceConfig.model_validate({"url": "webcam:0", "size": "1280x720", "fourcc": "MJPG", "fps": 15})
    assert (webcam.size, webcam.fps, webcam.fourcc) == ("1280x720", 15, "MJPG")
    for key, value in (("size", "1280x720"), ("fps", 15), ("fourcc", "MJPG")):
        with pytest.raises(ValidationError, match=f"{key} has an effect on webcams only"):
            SourceConfig.model_validate({"url": "rtsp://h/a", key: value})
    with pytest.raises(ValidationError, match="transport has an effect on rtsp"):
        SourceConfig.model_validate({"url": "webcam:0", "transport": "tcp"})


def test_certificates_matter_where_there_are_some() -> None:
    assert SourceConfig.model_validate("rtsps://h/a").tls_verify
    for scheme in ("rtsps", "HTTPS", "rtmps"):
        source = SourceConfig.model_validate({"url": f"{scheme}://h/a", "tls_verify": False})
        assert not source.tls_verify
    with pytest.raises(ValidationError, match="tls_verify has an effect on rtsps"):
        SourceConfig.model_validate({"url": "rtsp://h/a", "tls_verify": False})


def test_only_what_is_decoded_can_be_decoded_by_hardware() -> None:
    for url in ("rtsp://h/a", "clip.mp4", "/data/clips", "https://h/a.m3u8"):
        assert SourceConfig.model_validate({"url": url, "hwaccel": "auto"}).hwaccel == "auto"
    for url in ("webcam:0", "/dev/video1", "scene:gate"):
        with pytest.raises(ValidationError, match="hwaccel has an effect on streams and recordings only"):
            SourceConfig.model_validate({"url": url, "hwaccel": "auto"})


@pytest.mark.parametrize(
    "written",
    [
        {"url": "scene:gate"},
        {"url": "rtsp://h/a", "zone": [0, 0.5, 1, 1], "mask": [[0, 0, 0.25, 1]], "when": "22:00-06:00 UTC"},
        {
            "url": "rtsp://h/a",
            "frozen_after": "off",
            "stall_after": "1.5s",
            "recent": "off",
            "transport": "udp",
        },
        {"url": "webcam:0", "size": "640x480", "fps": 15, "fourcc": "MJPG"},
        {"url": "a.mp4", "pace": "realtime", "loop": True, "interval": "250ms", "frozen_after": "2m"},
    ],
)
def test_what_was_given_for_a_source_makes_it_again(written: dict[str, Any]) -> None:
    source = SourceConfig.model_validate(written)
    assert SourceConfig.model_validate(json.loads(json.dumps(source.given()))) == source
    assert source.given().keys() == written.keys()


@pytest.mark.parametrize(
    "written",
    [
        {"ask": "Is it open?", "kind": "yes_no", "every": "500ms", "window": "0s", "decide": "any"},
        {
            "ask": "Is it open?",
            "kind": "yes_no",
            "decide": {"k_of_n": [3, 5]},
            "gate": 0.02,
            "sources": ["a"],
        },
        {
            "ask": "How many?",
            "kind": "number",
            "max": 4,
            "zone": [[0, 0], [0.5, 0], [0.25, 0.5]],
            "max_age": "1m",
        },
        {"ask": "Which?", "kind": "choice", "choices": ["a", "b"], "when": "22:00-24:00 Europe/Rome"},
        {"ask": "Is it?", "gate": {"threshold": 0.1, "refresh": "90s", "audit": 0}, "every": "0.123456789s"},
    ],
)
def test_what_was_given_for_a_question_makes_it_again(written: dict[str, Any]) -> None:
    question = QuestionConfig.model_validate(written)
    again = QuestionConfig.model_validate(json.loads(json.dumps(question.given())))
    assert again.question("q") == question.question("q")
    assert question.given().keys() == written.keys()


def test_durations_hours_and_places_are_given_as_they_would_be_written() -> None:
    given = QuestionConfig.model_validate(
        {"ask": "?", "every": "2000ms", "window": "90s", "when": "9:00-17:00 UTC", "zone": [0, 0, 0.5, 1]}
    ).given()
    assert given == {
        "ask": "?", "every": "2s", "window": "90s", "when": "09:00-17:00 UTC",
        "zone": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]],
    }  # fmt: skip


def test_the_first_mistake_is_of_the_form_that_was_written() -> None:
    with pytest.raises(ValidationError) as caught:
        QuestionConfig.model_validate({"ask": "?", "alert": [{"when": "yes", "severity": "high"}]})
    where, what = first_mistake(dict(error) for error in caught.value.errors())
    assert (where, what[:15]) == ("alert.0.severity", "Input should be")
    assert [is_of_other_form(dict(error)) for error in caught.value.errors()] == [True, False]
    assert written_path(("alert", "AlertConfig", "when")) == ("alert", "when")
