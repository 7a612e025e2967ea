"""What clients say: understood, or refused by the rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamqa.errors import ProtocolError
from streamqa.server.messages import wall
from streamqa.server.protocol import MAX_SEQ, Ping, Subscribe, parse

NOW = wall(datetime(2026, 11, 22, 2, 22, 34, 120_400, tzinfo=UTC))


def test_messages_that_are_understood() -> None:
    assert parse('{"type": "subscribe"}') == Subscribe()
    assert parse('{"type": "ping"}') == Ping()
    full = {
        "type": "subscribe",
        "sources": ["gate"],
        "questions": ["q"],
        "types": ["answer"],
        "since": 5,
        "epoch": "e",
    }
    assert parse(json.dumps(full)) == Subscribe(**full)
    assert parse(json.dumps({"type": "subscribe", "sources": None, "since": MAX_SEQ})) == Subscribe(
        since=MAX_SEQ
    )


@pytest.mark.parametrize(("data", "code"), [
    (b"{}", "not_text"),
    ("", "bad_json"),
    ("nope", "bad_json"),
    ("NaN", "bad_message"),
    ("[" * 50_000, "bad_json"),
    ('{"type": "subscribe"', "bad_json"),
    ('"\ud800"', "bad_json"),
    ("{}", "unknown_type"),
    ('{"type": null}', "unknown_type"),
    ('{"type": "answer"}', "unknown_type"),
    ("[]", "bad_message"),
    ("1", "bad_message"),
    ('{"type": "subscribe", "since": "5"}', "bad_message"),
    ('{"type": "subscribe", "since": 5.0}', "bad_message"),
    ('{"type": "subscribe", "since": true}', "bad_message"),
    ('{"type": "subscribe", "since": -1}', "bad_message"),
    ('{"type": "subscribe", "since": 9223372036854775808}', "bad_message"),
    ('{"type": "subscribe", "sources": "gate"}', "bad_message"),
    ('{"type": "subscribe", "sources": [1]}', "bad_message"),
    ('{"type": "subscribe", "sources": [""]}', "bad_message"),
    ('{"type": "subscribe", "types": ["hello"]}', "bad_message"),
    ('{"type": "subscribe", "filter": {}}', "bad_message"),
    ('{"type": "ping", "id": "' + "x" * 65 + '"}', "bad_message"),
])  # fmt: skip
def test_messages_that_are_not(data: str | bytes, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse(data)
    assert caught.value.code == code
    assert 0 < len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(st.characters()), st.binary(), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["type", "sources", "questions", "types", "since", "epoch", "id", "x"]), inner
    ),
).map(json.dumps)))  # fmt: skip
def test_any_message_is_understood_or_refused_by_the_rules(data: str | bytes) -> None:
    outcome: object
    try:
        outcome = type(parse(data))
    except ProtocolError as error:
        outcome = error.code
    assert outcome in (Subscribe, Ping, "not_text", "bad_json", "unknown_type", "bad_message")
