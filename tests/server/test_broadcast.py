"""Fan-out over real sockets: live, replay, slow and hostile clients, stopping."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus

from streamqa.server.session import Filter


def test_live_records_of_many_subscribers(site: Any, join: Any, answer: Any, status: Any, seqs: Any) -> None:
    async def scenario() -> None:
        async with (
            site.running(),
            join(site) as everything,
            join(site, types=["source"]) as states,
            join(site, sources=["desk"], questions=["cars"]) as desk,
        ):
            for peer in (everything, states, desk):
                assert await peer.synced() == []
            logged = site.log.append([answer(1), status("desk"), answer(2, source="desk", question="cars")])
            site.server.broadcaster.publish(logged)
            assert await everything.hear_until(3) == [item.payload for item in logged]
            assert seqs(await states.hear_until(2)) == [2]
            assert seqs(await desk.hear_until(3)) == [2, 3]  # states are not hidden by a question

    asyncio.run(scenario())


def test_hello_and_pong(site: Any, answer: Any) -> None:
    async def scenario() -> None:
        async with site.running(), connect(site.ws, proxy=None) as connection:
            hello = json.loads(await connection.recv())
            assert (hello["type"], hello["protocol"], hello["epoch"]) == ("hello", 1, site.log.epoch)
            assert (hello["first_seq"], hello["last_seq"]) == (1, 0)
            assert hello["model"]["note"] == "knows nothing"
            assert [source["id"] for source in hello["sources"]] == ["gate", "desk"]
            assert hello["questions"][0]["every_s"] == 1.0
            await connection.send('{"type": "ping", "id": "7"}')
            pong = json.loads(await connection.recv())
            assert (pong["type"], pong["id"]) == ("pong", "7")
            assert not connection.protocol.extensions  # no compression
            site.publish(answer(1))
            await connection.send('{"type": "ping"}')
            assert json.loads(await connection.recv())["type"] == "pong"  # nothing before it subscribes

    asyncio.run(scenario())


def test_replay_joins_live_without_hole_or_double(make_site: Any, join: Any, answer: Any, seqs: Any) -> None:
    site = make_site(replay_batch=7, coalesce_s=0.005, write_share=1e-6)

    async def scenario() -> None:
        async with site.running():
            site.publish(*[answer(n) for n in range(100)])

            async def keep_publishing() -> None:
                for n in range(300):
                    site.publish(answer(n))
                    await asyncio.sleep(0.001)

            publishing = asyncio.create_task(keep_publishing())
            async with asyncio.TaskGroup() as group:
                peers = [group.create_task(from_since(since)) for since in (0, 37, 99, 100)]
            await publishing
            for since, peer in zip((0, 37, 99, 100), peers, strict=True):
                assert peer.result() == list(range(since + 1, 401))

    async def from_since(since: int) -> list[int]:
        async with join(site, since=since, epoch=site.log.epoch) as peer:
            return seqs(await peer.hear_until(400))

    asyncio.run(scenario())


def test_a_connection_cut_while_publishing_resumes_exactly(
    site: Any, join: Any, answer: Any, seqs: Any
) -> None:
    async def scenario() -> None:
        got: list[int] = []
        async with site.running():

            async def keep_publishing() -> None:
                for n in range(400):
                    site.publish(answer(n))
                    await asyncio.sleep(0.001)

            publishing = asyncio.create_task(keep_publishing())
            while len(got) < 400:
                async with join(site, since=got[-1] if got else 0, epoch=site.log.epoch) as peer:
                    got += [(await peer.hear())["seq"] for _ in range(min(60, 400 - len(got)))]
                    peer.connection.transport.abort()
            await publishing
        assert got == list(range(1, 401))

    asyncio.run(scenario())


def test_a_filtered_replay_reaches_the_end(make_site: Any, join: Any, answer: Any, seqs: Any) -> None:
    site = make_site(replay_batch=5)

    async def scenario() -> None:
        async with site.running():
            site.publish(*[answer(n, source="desk" if n % 10 == 0 else "gate") for n in range(100)])
            async with join(site, since=0, sources=["desk"]) as peer:
                assert seqs(await peer.hear_until(91)) == list(range(1, 100, 10))
                site.publish(answer(0, source="desk"), answer(1))
                assert seqs(await peer.hear_until(101)) == [101]

    asyncio.run(scenario())


def test_a_place_in_another_log_is_answered_by_a_gap_and_everything(
    site: Any, join: Any, answer: Any, seqs: Any
) -> None:
    async def scenario() -> None:
        async with site.running():
            site.publish(*[answer(n) for n in range(5)])
            for place in (
                {"since": 3, "epoch": "elsewhere"},
                {"since": 99},
                {"since": 99, "epoch": site.log.epoch},
            ):
                async with join(site, **place) as peer:
                    gap = await peer.hear()
                    assert gap == {
                        "type": "gap",
                        "from": None,
                        "to": None,
                        "reason": "new_log",
                        "count": None,
                    }
                    assert seqs(await peer.hear_until(5)) == [1, 2, 3, 4, 5]

    asyncio.run(scenario())


def test_what_is_no_longer_retained_is_announced(site: Any, join: Any, answer: Any, seqs: Any) -> None:
    async def scenario() -> None:
        async with site.running():
            site.publish(*[answer(n) for n in range(9)])
            site.log._connection.execute(
                "DELETE FROM records WHERE seq <= 6"
            )  # retention is yet to be written
            async with join(site, since=2, epoch=site.log.epoch) as peer:
                assert await peer.hear() == {
                    "type": "gap",
                    "from": 3,
                    "to": 6,
                    "reason": "retention",
                    "count": None,
                }
                assert seqs(await peer.hear_until(9)) == [7, 8, 9]

    asyncio.run(scenario())


def test_a_later_subscription_replaces_the_earlier(make_site: Any, join: Any, answer: Any, seqs: Any) -> None:
    site = make_site(write_share=1e-6)

    async def scenario() -> None:
        async with site.running(), join(site) as peer:
            await peer.synced()
            site.publish(answer(0))
            site.publish(answer(1))  # still waits to be coalesced when the next subscription comes
            await peer.say(type="subscribe", sources=["desk"])
            assert seqs(await peer.synced()) == [1, 2]
            site.publish(answer(2), answer(3, source="desk"))
            assert seqs(await peer.hear_until(4)) == [4]
            await peer.say(type="subscribe", since=0)
            assert seqs(await peer.hear_until(4)) == [1, 2, 3, 4]

    asyncio.run(scenario())


def test_a_burst_shares_one_write(make_site: Any, join: Any, answer: Any, seqs: Any) -> None:
    site = make_site(coalesce_s=0.5, write_share=1e-6)

    async def scenario() -> None:
        async with site.running(), join(site) as peer:
            await peer.synced()
            await asyncio.sleep(0.5)
            start = time.monotonic()
            site.publish(answer(0))
            await peer.hear_until(1)
            assert time.monotonic() - start < 0.4  # at once after quiet
            writes = []
            (subscriber,) = site.server.broadcaster._subscribers
            original = subscriber.transport.write
            subscriber.transport.write = lambda data: (writes.append(len(data)), original(data))  # type: ignore[func-returns-value]
            for n in range(10):
                site.publish(answer(n))
            assert seqs(await peer.hear_until(11)) == list(range(2, 12))
            assert len(writes) == 1

    asyncio.run(scenario())


def test_a_few_subscribers_wait_for_nothing(make_site: Any, join: Any, answer: Any) -> None:
    """The time to share a write follows from what a write takes; it is no fixed delay."""
    site = make_site(coalesce_s=60)

    async def scenario() -> None:
        async with site.running(), join(site) as peer:
            await peer.synced()
            for seq in range(1, 21):
                site.publish(answer(seq))
                await peer.hear_until(seq)

    asyncio.run(scenario())


def test_heartbeats_say_how_far_a_live_subscriber_is(make_site: Any, join: Any, answer: Any) -> None:
    site = make_site(heartbeat_s=0.05)

    async def scenario() -> None:
        async with site.running(), join(site, sources=["desk"]) as peer:
            await peer.synced()
            site.publish(answer(0), answer(1))
            while (message := await peer.hear())["last_seq"] != 2:
                assert message["type"] == "heartbeat"

    asyncio.run(scenario())


BAD_MESSAGES = (
    ("{", "bad_json"),
    ("[" * 60_000, "bad_json"),
    ('{"type": "dance"}', "unknown_type"),
    ("{}", "unknown_type"),
    ('{"type": "subscribe", "since": -1}', "bad_message"),
    ('{"type": "subscribe", "sorces": []}', "bad_message"),
    (b"\x00", "not_text"),
)


def test_a_bad_message_is_answered_and_the_connection_goes_on(site: Any, join: Any) -> None:
    async def scenario() -> None:
        async with site.running(), join(site) as peer:
            for message, code in BAD_MESSAGES:
                await peer.connection.send(message)
                error = await peer.hear()
                assert (error["type"], error["code"]) == ("error", code)
                assert 0 < len(error["message"]) <= 300
                assert await peer.synced() == []

    asyncio.run(scenario())


def test_a_message_beyond_the_limit_closes_with_1009(site: Any, join: Any) -> None:
    async def scenario() -> None:
        async with site.running(), join(site) as other, join(site) as peer:
            await peer.say(type="ping", id="x" * 70_000)
            with pytest.raises(ConnectionClosedError) as caught:
                await peer.hear()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1009
            assert await other.synced() == []

    asyncio.run(scenario())


def test_a_page_of_this_server_may_connect(site: Any) -> None:
    async def scenario() -> None:
        async with site.running(), connect(site.ws, proxy=None, origin=site.http) as connection:
            assert json.loads(await connection.recv())["type"] == "hello"

    asyncio.run(scenario())


def test_no_more_subscribers_than_allowed(make_site: Any, join: Any) -> None:
    site = make_site(connections=2)

    async def scenario() -> None:
        async with site.running(), join(site) as one, join(site):
            with pytest.raises(InvalidStatus) as caught:
                async with connect(site.ws, proxy=None):
                    pass
            assert caught.value.response.status_code == 503
            assert await one.synced() == []

    asyncio.run(scenario())


def test_stopping_delivers_what_is_pending_and_says_1001(make_site: Any, join: Any, answer: Any) -> None:
    site = make_site(coalesce_s=60, write_share=1e-9)

    async def scenario() -> None:
        async with site.running(), join(site) as peer:
            await peer.synced()
            site.publish(answer(0))
            site.publish(answer(1))
            stopping = asyncio.create_task(site.server.stop())
            assert [message["seq"] for message in await peer.hear_until(2)] == [1, 2]
            with pytest.raises(ConnectionClosedOK) as caught:
                await peer.hear()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1001
            await stopping

    asyncio.run(scenario())


def test_a_broken_connection_does_not_keep_others_from_their_answers(
    site: Any, join: Any, answer: Any, seqs: Any
) -> None:
    async def scenario() -> None:
        async with site.running(), join(site) as peer, join(site) as broken:
            await peer.synced()
            await broken.synced()

            def fail(data: bytes) -> None:
                raise RuntimeError("Cannot call write() after write_eof()")

            port = broken.connection.local_address[1]
            victim = next(s for s in site.server.broadcaster._subscribers if s.remote_address[1] == port)
            victim.write = fail
            site.publish(answer(0))
            assert seqs(await peer.hear_until(1)) == [1]
            with pytest.raises(ConnectionClosedError):
                await broken.hear()

    asyncio.run(scenario())


def test_subscribers_with_one_filter_share_their_frames() -> None:
    filters = {Filter(frozenset({"a"})), Filter(frozenset({"a"}))}
    assert len(filters) == 1


def test_who_talks_too_fast_is_read_more_slowly_and_loses_nothing(make_site: Any, join: Any) -> None:
    site = make_site(messages_per_s=50, messages_burst=3)

    async def scenario() -> None:
        async with site.running(), join(site) as peer:
            for n in range(10):
                await peer.say(type="ping", id=str(n))
            assert [(await peer.hear())["id"] for _ in range(10)] == [str(n) for n in range(10)]
        assert site.count("messages_received_total") == 11
        assert site.count("messages_held_back_total") > 0

    asyncio.run(scenario())
