"""Server-sent events against a real server: from where they begin, what they skip, and who does not read."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from streamqa.server.events import event, heartbeat

Get = Callable[..., httpx2.Response]


class Stream:
    """A client that reads events as a browser does."""

    def __init__(self, response: httpx2.Response) -> None:
        self._lines = response.iter_lines()
        self.last_id = ""

    def next(self) -> tuple[str, dict[str, Any]]:
        """The next event's name and data; whatever only sets the id is passed over."""
        name, data = "message", ""
        for line in self._lines:
            if not line and data:
                return name, json.loads(data)
            field, _, value = line.partition(": ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                name = value
            elif field == "data":
                data = value
        raise EOFError

    def seqs(self, count: int) -> list[int]:
        return [self.next()[1]["seq"] for _ in range(count)]


@pytest.fixture
def opened(site: Any, get: Get) -> Callable[..., Any]:
    @contextmanager
    def opened(last_event_id: str | None = None, **query: Any) -> Iterator[Stream]:
        headers = {} if last_event_id is None else {"last-event-id": last_event_id}
        with (
            httpx2.Client(base_url=site.http, trust_env=False, timeout=15) as client,
            client.stream("GET", "/events", params=query, headers=headers) as response,
        ):
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            stream = Stream(response)
            name, hello = stream.next()
            assert (name, hello["type"], hello["epoch"]) == ("hello", "hello", site.log.epoch)
            yield stream

    return opened


def publish(site: Any, *records: Any) -> list[int]:
    """As the pipeline does it: durable first, then told to the server's own loop."""
    logged = site.log.append(records)
    site.loop.call_soon_threadsafe(site.server.broadcaster.publish, logged)
    return [item.seq for item in logged]


def test_what_comes_from_now_on(site: Any, opened: Any, answer: Any, status: Any) -> None:
    publish(site, answer(0))
    with opened() as stream:
        publish(site, answer(1), status("gate"))
        first = stream.next()
        assert first == ("answer", site.log.read(1, 1)[0].payload)
        assert stream.last_id == f"{site.log.epoch}:2"
        assert stream.next()[0] == "source"


def test_whoever_comes_back_goes_on_where_it_was(site: Any, opened: Any, answer: Any) -> None:
    publish(site, *(answer(n) for n in range(300)))
    with opened(since=0) as stream:
        assert stream.seqs(120) == list(range(1, 121))
        place = stream.last_id
    publish(site, answer(1))
    with opened(place) as stream:
        assert stream.seqs(181) == list(range(121, 302))
        publish(site, answer(2))
        assert stream.seqs(1) == [302]


def test_filters_and_thinning(site: Any, opened: Any, answer: Any, status: Any) -> None:
    records = [replace(answer(n, source="yard" if n % 2 else "gate"), changed=n > 5) for n in range(10)]
    publish(site, *records, status("gate"))
    with opened(since=0, source="yard", type="answer") as stream:
        assert stream.seqs(5) == [2, 4, 6, 8, 10]
    with opened(since=0, changed_only=True) as stream:
        assert stream.seqs(5) == [7, 8, 9, 10, 11]
    with opened(since=0, source="gate", type="answer", min_interval_s=4) as stream:
        assert stream.seqs(3) == [1, 5, 9]
        publish(site, answer(11), answer(12))
        assert stream.seqs(1) == [13]


def test_a_place_in_another_log_and_one_before_retention(site: Any, opened: Any, answer: Any) -> None:
    publish(site, *(answer(n) for n in range(10)))
    with opened("deadbeef:5") as stream:
        assert stream.next()[1]["reason"] == "new_log"
        assert stream.seqs(10) == list(range(1, 11))
    site.log._connection.execute("DELETE FROM records WHERE seq <= 6")
    with opened(f"{site.log.epoch}:2") as stream:
        name, gap = stream.next()
        assert (name, gap["from"], gap["to"], gap["reason"]) == ("gap", 3, 6, "retention")
        assert stream.last_id == f"{site.log.epoch}:6"
        assert stream.seqs(4) == [7, 8, 9, 10]


@pytest.mark.parametrize("wrong", ["nonsense", "a:b", ":5", "abc:-1", f"abc:{2**63}", "a" * 90 + ":1"])
def test_a_place_that_is_none_is_refused(get: Get, wrong: str) -> None:
    response = get("/events", headers={"last-event-id": wrong})
    assert response.status_code in (400, 422)
    assert get("/events?since=-1").status_code == 422
    assert get("/events?min_interval_s=0").status_code == 422


def test_an_event_in_bytes() -> None:
    assert event("e:7", "answer", '{"a":1}') == b'id: e:7\nevent: answer\ndata: {"a":1}\n\n'
    assert event(None, "gap", "{}") == b"event: gap\ndata: {}\n\n"
    assert heartbeat("e", 9) == b": still here\nid: e:9\n\n"  # sets the id and is no event


def test_all_is_well_is_told(make_site: Any, serving: Any) -> None:
    site = make_site(heartbeat_s=0.1)
    with serving(site), socket.create_connection(("127.0.0.1", site.server.port), 10) as client:
        client.sendall(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        client.settimeout(10)
        seen = b""
        while seen.count(b": still here") < 3:
            seen += client.recv(65536)
        assert seen.count(b"event: hello") == 1


def test_so_many_streams_and_no_more(make_site: Any, serving: Any) -> None:
    site = make_site(event_streams=2)
    with serving(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=10) as client:
        with client.stream("GET", "/events") as one, client.stream("GET", "/events") as two:
            streams = Stream(one), Stream(two)  # held: a reader that is let go closes its response
            assert [stream.next()[0] for stream in streams] == ["hello", "hello"]
            assert client.get("/events").status_code == 503
            assert site.count("event_streams") == 2
        until_s = time.monotonic() + 10
        while site.count("event_streams") and time.monotonic() < until_s:
            time.sleep(0.02)
        with client.stream("GET", "/events") as again:
            assert again.status_code == 200


def test_who_takes_no_byte_is_cut_off_and_the_others_go_on(make_site: Any, serving: Any, answer: Any) -> None:
    site = make_site(stall_s=0.5)
    with serving(site), httpx2.Client(base_url=site.http, trust_env=False, timeout=20) as client:
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", site.server.port))
        with stalled, client.stream("GET", "/events") as response:
            stalled.sendall(b"GET /events?since=0 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            stream = Stream(response)
            assert stream.next()[0] == "hello"
            for _ in range(30):
                publish(site, *(answer(n, text="x" * 2000) for n in range(100)))
            assert stream.seqs(3000) == list(range(1, 3001))
            until_s = time.monotonic() + 20
            while not site.count("http_aborted_total") and time.monotonic() < until_s:
                time.sleep(0.02)
            assert site.count("http_aborted_total") == 1
            publish(site, answer(1))
            assert stream.seqs(1) == [3001]


def test_a_stop_ends_streams_in_time(site: Any, answer: Any) -> None:
    async def main() -> tuple[bytes, float]:
        async with site.running():
            reader, writer = await asyncio.open_connection("127.0.0.1", site.server.port)
            writer.write(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await reader.readuntil(b"event: hello")
            site.publish(answer(0))
            began_s = time.monotonic()
            rest = asyncio.create_task(reader.read())
            await asyncio.sleep(0)
        said = await asyncio.wait_for(rest, 10)
        writer.close()
        return said, time.monotonic() - began_s

    said, took_s = asyncio.run(main())
    assert b'"seq":1,' in said
    assert took_s < 5
