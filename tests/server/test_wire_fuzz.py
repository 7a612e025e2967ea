"""Random and mutated messages of clients: each is answered as the protocol says, and nobody else is disturbed."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection, connect

from streamqa.errors import ProtocolError
from streamqa.server.protocol import Incoming, Ping, Subscribe, parse
from tests.noted_line import ControlSite

PATIENCE_S = 20
ALWAYS = "bad_json", "not_text", "unknown_type", "bad_message"
CODES = (
    *ALWAYS, "not_there", "taken", "not_allowed", "forbidden", "model", "busy", "unavailable",
)  # fmt: skip

# Names of what is there, of what is not, and of what cannot be.
names = st.sampled_from(["person", "cars", "gate", "yard", "a", "b.c", "", "a b", "ä", "x" * 65, "../x"])
ids = st.none() | st.text(max_size=8) | st.just("x" * 65)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
questions = st.fixed_dictionaries(
    {"ask": st.sampled_from(["Is it open?", "How many?", ""])},
    optional={
        "kind": st.sampled_from(["yes_no", "number", "choice", "text", "points", "riddle"]),
        "every": st.sampled_from(["2s", "500ms", "0s", "1y", 3]),
        "window": st.sampled_from(["5s", "off"]),
        "choices": st.lists(st.sampled_from(["open", "closed", "OPEN"]), max_size=3),
        "sources": st.lists(names, max_size=2),
        "max": st.integers(-1, 101),
    },
)
urls = st.sampled_from([
    "scene:gate", "rtsp://u:p@10.0.0.9/1", "http://127.0.0.1:1/x", "file:///etc/passwd", "/etc/passwd", "webcam:0",
    "rtsp://", "gopher://x", "",
])  # fmt: skip
sources = urls | st.fixed_dictionaries(
    {"url": urls}, optional={"fps": st.floats(), "priority": st.integers(-5, 200), "mask": anything}
)


def said(kind: str, needed: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind), **needed}, optional={"id": ids, **optional})


def of_a_target(kind: str, **more: Any) -> st.SearchStrategy[dict[str, Any]]:
    return said(kind, {"question": names, **more}) | said(kind, {"source": names, **more})


filters = st.none() | st.lists(st.text(max_size=8) | names, max_size=3)
meant = st.one_of(
    st.fixed_dictionaries({"type": st.just("subscribe")}, optional={
        "sources": filters, "questions": filters,
        "types": st.none() | st.lists(st.sampled_from(["answer", "source", "change", "error", "gap"]), max_size=3),
        "changed_only": st.booleans(), "min_interval_s": st.none() | st.floats(0, 1e6),
        "since": st.none() | st.integers(-1, 2**63), "epoch": st.none() | st.text(max_size=5),
    }),
    said("ping", {}),
    said("list", {}),
    said("ask", {"question": names, "settings": questions}),
    said("add", {"source": names, "settings": sources}),
    of_a_target("update", settings=questions | sources | anything),
    of_a_target("pause"),
    of_a_target("resume"),
    of_a_target("remove"),
    said("ask_once", {"source": names, "settings": questions}, t_s=st.floats(-1, 1e10), ago_s=st.floats(-1, 1e6),
         at=st.sampled_from(["2026-11-22T02:22:34Z", "2026-11-22T02:22:34", "0001-01-01T00:00:00+14:00", "now"])),
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> str | bytes:
    """A message that was meant well, and what became of it."""
    message = draw(meant)
    for _ in range(draw(st.integers(0, 2))):
        key = draw(st.sampled_from([*message, "type", "more"]))
        change = draw(st.sampled_from(["take", "put", "wrap"]))
        if change == "take":
            message.pop(key, None)
        else:
            message[key] = draw(anything) if change == "put" else [message.get(key)]
    text = json.dumps(message)
    cut = draw(st.integers(0, 9))
    if cut == 9:
        at = draw(st.integers(0, len(text)))
        text = draw(
            st.sampled_from([text[:at], text[at:], text[:at] + draw(st.text(max_size=3)) + text[at:]])
        )
    return text.encode() if cut == 8 else text


messages = mutated() | st.text(max_size=30) | st.binary(max_size=30) | anything.map(json.dumps) | st.sampled_from([
    "[" * 10_000, '{"type":' * 5_000, '{"type":"ping","id":"\\ud800"}', '{"type":"ping","type":"list"}', "1e999999",
    '{"type":"subscribe","since":' + "9" * 5_000 + "}", "﻿{}", "NaN", "\x00", '{"type":"ping"}\n{"type":"ping"}',
])  # fmt: skip


class Talker:
    """A client that says one thing after the other, and a new connection where the last one is gone."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: ClientConnection | None = None
        self._stack = ExitStack()
        self.count = 0
        self.answers: Counter[str] = Counter()

    def say(self, data: str | bytes) -> list[dict[str, Any]]:
        """What is answered to it: all up to the answer to a ping behind it, and the one that it must have."""
        connection = self._connection = self._connection or self._connected()
        due = expected(data)
        self.count += 1
        mark = f"mark {self.count}"
        try:
            connection.send(data)
            connection.send(json.dumps({"type": "ping", "id": mark}))
            heard: list[dict[str, Any]] = []
            marked = False
            while not marked or len(heard) < due:
                message = json.loads(connection.recv(timeout=PATIENCE_S))
                if message["type"] == "pong" and message["id"] == mark:
                    marked = True
                elif message["type"] in ("pong", "reply") or (
                    message["type"] == "error" and "seq" not in message
                ):
                    heard.append(message)
        except BaseException:
            self.close()
            raise
        return heard

    def close(self) -> None:
        self._connection = None
        self._stack.close()

    def _connected(self) -> ClientConnection:
        connection = self._stack.enter_context(connect(self._url, proxy=None, compression=None))
        assert json.loads(connection.recv(timeout=PATIENCE_S))["type"] == "hello"
        return connection


def expected(data: str | bytes) -> int:
    """How many answers a message has."""
    return 0 if isinstance(understood(data), Subscribe) else 1


def understood(data: str | bytes) -> Incoming | str:
    """A message, or the code of what is wrong with it."""
    try:
        return parse(data)
    except ProtocolError as error:
        return error.code


def check(data: str | bytes, heard: list[dict[str, Any]]) -> str:
    """Whether the answers are right; says what there was."""
    message = understood(data)
    if isinstance(message, Subscribe):
        assert heard == []
        return "subscribed"
    (answer,) = heard
    if isinstance(message, str):
        assert (answer["type"], answer["code"], answer["id"]) == ("error", message, None)
        assert message in ALWAYS
        return message
    assert answer["id"] == message.id
    if isinstance(message, Ping):
        assert answer["type"] == "pong"
        return "pong"
    assert answer["type"] == "reply" or answer["code"] in CODES, answer
    assert "\n" not in answer.get("message", "")
    return f"{message.type}: {answer.get('code', 'reply')}"


@contextmanager
def listening(url: str) -> Iterator[list[int]]:
    """A well-behaved subscriber; the numbers of all records that it has heard, once it is over."""
    heard: list[int] = []
    over = threading.Event()

    def listen(connection: ClientConnection) -> None:
        for data in connection:
            message = json.loads(data)
            if message["type"] == "answer":
                heard.append(message["seq"])
            elif message["type"] == "pong":
                break
        over.set()

    with connect(url, proxy=None, compression=None) as connection:
        connection.send('{"type":"subscribe","since":0}')
        thread = threading.Thread(target=listen, args=[connection])
        thread.start()
        yield heard
        connection.send('{"type":"ping"}')
        assert over.wait(PATIENCE_S)
        thread.join(PATIENCE_S)


@pytest.mark.parametrize("count", [500, pytest.param(5_000, marks=pytest.mark.slow)])
def test_each_message_is_answered_by_the_rules_and_nobody_else_is_disturbed(
    make_site: Any, answer: Any, background: Any, tmp_path: Path, count: int
) -> None:
    (tmp_path / "line").mkdir()
    site = make_site(messages_per_s=1e6, messages_burst=1e6)
    site.control = ControlSite(tmp_path / "line").control
    published: list[int] = []

    with background(site), listening(site.ws) as heard:
        loop = site.server._task.get_loop()
        talker = Talker(site.ws)
        kinds: Counter[str] = Counter()

        @settings(
            max_examples=count, derandomize=True, database=None, suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )  # fmt: skip
        @given(data=messages)
        def fuzz(data: str | bytes) -> None:
            if talker.count % 4 == 0:
                loop.call_soon_threadsafe(lambda: published.extend(site.publish(answer(len(published)))))
            kind = check(data, talker.say(data))
            kinds[kind] += 1
            event(kind)

        fuzz()
        talker.close()
    assert heard == published
    assert len(published) > count / 5
    # It must have got deep: every command both carried out and refused, at least some of the time.
    assert set(ALWAYS) <= set(kinds)
    assert {"subscribed", "pong", "list: reply"} <= set(kinds)
    assert sum(kind.endswith("reply") for kind in kinds) >= 4, kinds
    assert sum("not_there" in kind for kind in kinds) >= 3, kinds
