"""Webhooks against a real receiver: signed, tried again, kept when all fails, and never around the guard."""

from __future__ import annotations

import hashlib
import hmac
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from streamqa.capture.reach import Reach, reach_of
from streamqa.errors import ConfigError
from streamqa.service_settings import ReachConfig
from streamqa.sink_settings import WebhookConfig
from streamqa.sinks import webhook as module
from streamqa.sinks.base import Logged
from streamqa.sinks.letters import Letters
from streamqa.sinks.log import to_json
from streamqa.sinks.outlet import QueuedOutlet, QueueSettings, Undelivered
from streamqa.sinks.webhook import Webhook, key_of, open_guarded, open_outlet, shown
from streamqa.version import __version__
from tests.receiver import Answer, Receiver, free_port, receiver, receiving
from tests.sinks.outlets import make_context

__all__ = ["receiver"]

SECRET = "a secret of 16 or more"
LOOPBACK = reach_of(ReachConfig(hosts=["127.0.0.1"]))


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def logged(seq: int | None, **more: Any) -> Logged:
    return Logged(seq, {"type": "alert", "seq": seq, "source": "gate", "question": "person", **more})


def settings(url: str, **more: Any) -> WebhookConfig:
    return WebhookConfig.model_validate({"webhook": url, **more})


@contextmanager
def opened(
    url: str, letters: Path | None = None, *, reach: Reach | None = None, **more: Any
) -> Iterator[QueuedOutlet]:
    context = make_context(letters=letters, reach=reach)
    made = (open_outlet if reach is None else open_guarded)(settings(url, **more), "hook", context)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def sending(url: str, **more: Any) -> Iterator[Webhook]:
    made = Webhook(settings(url, **more), "e0")
    try:
        yield made
    finally:
        made.close()


def test_a_record_comes_as_it_is_on_the_wire(receiver: Receiver) -> None:
    record = logged(7, text="Yés \U0001f600")
    with opened(receiver.url("hook?token=s3cret")) as outlet:
        outlet.write([record])
        assert outlet.drained(5)
        assert outlet.state().target == f"http://127.0.0.1:{receiver.port}/…"
    (request,) = receiver.requests
    assert request.body == to_json(record.payload).encode()
    assert (request.method, request.path) == ("POST", "/hook?token=s3cret")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "e0:7"
    assert request.headers["user-agent"] == f"streamqa/{__version__}"
    assert abs(int(request.headers["x-streamqa-timestamp"]) - time.time()) < 60
    assert "x-streamqa-signature" not in request.headers


def is_ours(secret: str, request: Any) -> bool:
    """As the module's docstring tells a receiver to check."""
    timestamp, signature = request.headers["x-streamqa-timestamp"], request.headers["x-streamqa-signature"]
    key, body = secret.encode(), request.body
    expected = "sha256=" + hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signature) and abs(time.time() - int(timestamp)) < 300


def test_a_receiver_can_check_where_it_comes_from(receiver: Receiver) -> None:
    with opened(receiver.url(), secret=SECRET) as outlet:
        outlet.write([logged(1)])
        assert outlet.drained(5)
    (request,) = receiver.requests
    assert is_ours(SECRET, request)
    assert not is_ours(SECRET + "x", request)


def test_a_password_in_the_address_is_sent_and_not_told(receiver: Receiver) -> None:
    with opened(receiver.url().replace("//", "//me:hunter2@")) as outlet:
        outlet.write([logged(1)])
        assert outlet.drained(5)
        assert "hunter2" not in repr(outlet.state())
    assert receiver.requests[0].headers["authorization"].startswith("Basic ")


def test_records_come_in_order_over_one_connection(receiver: Receiver) -> None:
    with opened(receiver.url()) as outlet:
        outlet.write([logged(seq) for seq in range(1, 51)])
        assert outlet.drained(10)
    assert [request.json["seq"] for request in receiver.requests] == list(range(1, 51))


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_hiccup_is_tried_again_with_the_same_key(receiver: Receiver, status: int) -> None:
    receiver.answers = [Answer(status, {"retry-after": "0"})] * 2
    with sending(receiver.url(), secret=SECRET) as webhook:
        webhook.send("e0:1", "{}")
    assert [request.headers["idempotency-key"] for request in receiver.requests] == ["e0:1"] * 3
    assert all(is_ours(SECRET, request) for request in receiver.requests)


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 410, 413, 422])
def test_a_refusal_is_not_tried_again_and_kept(receiver: Receiver, tmp_path: Path, status: int) -> None:
    receiver.answers = [Answer(status, {"location": receiver.url("elsewhere")})]
    with opened(receiver.url(), tmp_path / "u.db") as outlet:
        outlet.write([logged(1)])
        assert outlet.drained(5)
        state = outlet.state()
        assert (state.is_up, state.delivered, state.dropped) == (False, 0, 1)
        assert f"it answered {status}" in state.reason
        outlet.write([logged(2)])
        assert outlet.drained(5)
        assert outlet.state().is_up
    assert [request.path for request in receiver.requests] == ["/hook", "/hook"]
    (letter,) = Letters(tmp_path / "u.db").read()
    assert (letter.sink, letter.key, letter.body) == ("hook", "e0:1", to_json(logged(1).payload))
    assert f"it answered {status}" in letter.reason


def test_an_outage_is_waited_for_and_costs_nothing(tmp_path: Path) -> None:
    port = free_port()
    with opened(f"http://127.0.0.1:{port}/hook", tmp_path / "u.db") as outlet:
        began_s = time.perf_counter()
        outlet.write([logged(1), logged(2)])
        assert time.perf_counter() - began_s < 0.1
        down = until_down(outlet)
        assert down.startswith(f"http://127.0.0.1:{port}/…: ")
        with receiving(port=port) as receiver:
            assert outlet.drained(20)
            assert [request.json["seq"] for request in receiver.requests] == [1, 2]
        assert outlet.state().is_up
        assert (outlet.state().delivered, outlet.state().dropped) == (2, 0)
    assert Letters(tmp_path / "u.db").read() == []


def until_down(outlet: QueuedOutlet) -> str:
    waiting = threading.Event()
    for _ in range(1000):
        if outlet.state().is_up is False:
            return outlet.state().reason
        waiting.wait(0.01)
    raise AssertionError("it is never down")


def test_a_receiver_that_hangs_is_cut_off_at_the_end(receiver: Receiver, tmp_path: Path) -> None:
    receiver.usual = Answer(hang=True)
    with opened(receiver.url(), tmp_path / "u.db") as outlet:
        outlet.write([logged(1), logged(2)])
        receiver.until(1)
        began_s = time.monotonic()
        outlet.close()
        assert time.monotonic() - began_s < 4
    assert [letter.key for letter in Letters(tmp_path / "u.db").read()] == ["e0:1", "e0:2"]


@pytest.mark.parametrize("drips", [False, True])
def test_no_answer_in_time_is_a_failure(drips: bool) -> None:
    stop = threading.Event()

    def drip(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            while drips and not stop.wait(0.05):  # each byte comes in time, the answer never
                connection.send(b"x" if drips else b"")
            stop.wait(10)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with sending(url, timeout="300ms") as webhook:
            began_s = time.monotonic()
            with pytest.raises(Undelivered, match=r"no answer within 0\.3 s") as raised:
                webhook.send("k", "{}")
            assert time.monotonic() - began_s < 2
            assert raised.value.retry
        stop.set()
        thread.join(10)


def test_an_endless_answer_is_not_read_to_its_end(receiver: Receiver) -> None:
    receiver.usual = Answer(body=b"x" * 10_000_000)
    with sending(receiver.url()) as webhook:
        webhook.send("a", "{}")
        webhook.send("b", "{}")
    assert len(receiver.requests) == 2


@pytest.mark.parametrize(
    ("header", "after_s"),
    [
        ("7", 7),
        ("100000", 300),
        (timedelta(seconds=90), 89),
        (timedelta(days=-1), 0),
        ("soon", None),
        ("9" * 5000, 300),
    ],
)
def test_retry_after_is_kept_within_bounds(
    receiver: Receiver, header: str | timedelta, after_s: float | None
) -> None:
    if isinstance(header, timedelta):
        header = format_datetime(datetime.now(UTC) + header, usegmt=True)
    receiver.answers = [Answer(503, {"retry-after": header})] * (
        1 if after_s is not None and after_s > 5 else 3
    )
    with sending(receiver.url()) as webhook:
        if after_s is not None and after_s <= 5:
            receiver.answers.pop()
            webhook.send("k", "{}")  # it is a hiccup
            return
        with pytest.raises(Undelivered) as raised:
            webhook.send("k", "{}")
    found = raised.value.after_s
    assert (found is None) if after_s is None else (found is not None and abs(found - after_s) < 30)


def test_what_was_tried_for_long_enough_becomes_a_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUEUE", QueueSettings(batch=1, patience_s=0.1))
    with opened(f"http://127.0.0.1:{free_port()}/", tmp_path / "u.db") as outlet:
        outlet.write([logged(1), logged(2)])
        assert outlet.drained(20)
        assert (outlet.state().delivered, outlet.state().dropped) == (0, 2)
    assert [letter.key for letter in Letters(tmp_path / "u.db").read()] == ["e0:1", "e0:2"]


def test_records_without_a_number_have_a_key_of_their_own(receiver: Receiver) -> None:
    first, second = logged(None, durable=False, t_s=1.0), logged(None, durable=False, t_s=2.0)
    with opened(receiver.url()) as outlet:
        outlet.write([first, second])
        assert outlet.drained(5)
    keys = [request.headers["idempotency-key"] for request in receiver.requests]
    assert keys == [key_of(first, "e0"), key_of(second, "e0")]
    assert len(set(keys)) == 2


def test_without_a_file_what_is_given_up_is_counted_all_the_same(receiver: Receiver) -> None:
    receiver.usual = Answer(410)
    with opened(receiver.url()) as outlet:
        outlet.write([logged(1)])
        assert outlet.drained(5)
        assert outlet.state().dropped == 1


def test_letters_that_cannot_be_kept_are_told(
    receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.answers = [Answer(410)]
    (tmp_path / "u.db").write_text("no database " * 100)
    with opened(receiver.url(), tmp_path / "u.db") as outlet:
        outlet.write([logged(1), logged(2)])
        assert outlet.drained(5)
    assert "1 records are lost" in caplog.text
    assert len(receiver.requests) == 2


def test_nothing_secret_is_logged(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.answers = [Answer(500, {"retry-after": "0"})]
    with (
        caplog.at_level(logging.DEBUG),
        opened(receiver.url("hunter2?token=s3cret"), secret=SECRET) as outlet,
    ):
        outlet.write([logged(1)])
        assert outlet.drained(5)
        receiver.close()
        outlet.write([logged(2)])
        until_down(outlet)
    assert len(receiver.requests) == 2
    for word in ("hunter2", "s3cret", SECRET, "retry_scheduled"):
        assert word not in caplog.text


def test_an_added_webhook_reaches_what_is_allowed(receiver: Receiver) -> None:
    with opened(receiver.url(), reach=LOOPBACK) as outlet:
        outlet.write([logged(1, text="x" * 200_000), logged(2)])
        assert outlet.drained(10)
    assert [request.json["seq"] for request in receiver.requests] == [1, 2]
    assert len(receiver.requests[0].json["text"]) == 200_000


def test_an_added_webhook_does_not_reach_what_is_private(tmp_path: Path) -> None:
    with receiving("0.0.0.0") as receiver:
        for host in ("127.0.0.2", "[::ffff:127.0.0.2]", "0x7f.2"):
            with opened(receiver.url(host=host), tmp_path / "u.db", reach=LOOPBACK) as outlet:
                outlet.write([logged(1)])
                assert outlet.drained(10)
                reason = outlet.state().reason
                assert "not a public one" in reason or "read in two ways" in reason
        assert receiver.requests == []


def test_a_name_that_changes_its_address_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["127.0.0.1", "127.0.0.2"]
    real = socket.getaddrinfo

    def rebinding(host: Any, *rest: Any, **more: Any) -> Any:
        return real(answers[0] if host == "rebind.example" else host, *rest, **more)

    monkeypatch.setattr("socket.getaddrinfo", rebinding)
    with (
        receiving("0.0.0.0") as receiver,
        opened(receiver.url(host="rebind.example"), reach=LOOPBACK) as outlet,
    ):
        outlet.write([logged(1)])
        assert outlet.drained(10)
        answers.pop(0)
        outlet.write([logged(2)])
        assert outlet.drained(10)
        assert "not a public one" in outlet.state().reason
        assert [(request.here, request.json["seq"]) for request in receiver.requests] == [("127.0.0.1", 1)]


def test_a_name_that_is_not_found_for_a_while_costs_nothing(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = socket.getaddrinfo, [socket.gaierror(-3, "Temporary failure")] * 5

    def failing(*wanted: Any, **more: Any) -> Any:
        if failures:
            raise failures.pop()
        return real(*wanted, **more)

    monkeypatch.setattr("socket.getaddrinfo", failing)
    with opened(receiver.url(), reach=LOOPBACK) as outlet:
        outlet.write([logged(1)])
        assert outlet.drained(15)
        assert (outlet.state().delivered, outlet.state().dropped) == (1, 0)


def test_an_added_webhook_over_tls_asks_the_guard_too() -> None:
    with opened("https://127.0.0.2:9/", reach=LOOPBACK) as outlet:
        outlet.write([logged(1)])
        assert outlet.drained(10)
        assert "not a public one" in outlet.state().reason


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example/services/T0/B0/x", "https://hooks.example/…"),
        ("https://me:secret@example.org:8443/", "https://example.org:8443/"),
        ("http://[2001:db8::1]:80/?key=1", "http://[2001:db8::1]/…"),
    ],
)
def test_what_is_shown_of_an_address(url: str, target: str) -> None:
    assert shown(url) == target


@pytest.mark.parametrize(
    "url", ["http://", "https://host:port/", "http://[::1/", "https://me:hunter2/x@host/"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match="sink hook: webhook: the address") as told:
        open_outlet(settings(url), "hook", make_context())
    assert "hunter2" not in str(told.value)


def test_what_a_receiver_wants_remembered_is_not(receiver: Receiver) -> None:
    receiver.answers = [Answer(200, {"set-cookie": "a=b; Path=/"})]
    with sending(receiver.url()) as webhook:
        webhook.send("e0:1", "{}")
        webhook.send("e0:2", "{}")
    assert "cookie" not in receiver.requests[1].headers
