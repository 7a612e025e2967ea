"""Who is live and how it is written to: a real server whose subscribers want different things."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any


def test_each_gets_what_it_wants_whoever_else_is_there(site: Any, answer: Any, join: Any, seqs: Any) -> None:
    async def main() -> list[list[int]]:
        async with (
            site.running(),
            join(site) as everything,
            join(site, sources=["yard"]) as yard,
            join(site, changed_only=True) as changes,
            join(site, min_interval_s=2.0) as seldom,
            join(site) as twin,
        ):
            peers = [everything, yard, changes, seldom, twin]
            for peer in peers:
                await peer.synced()
            for n in range(6):
                one = answer(n, source="yard" if n % 2 else "gate")
                site.publish(replace(one, changed=n > 3))
            return [seqs(await peer.synced()) for peer in peers]

    everything, yard, changes, seldom, twin = asyncio.run(main())
    assert everything == twin == [1, 2, 3, 4, 5, 6]
    assert yard == [2, 4, 6]
    assert changes == [5, 6]
    assert seldom == [1, 2, 3, 4, 5, 6]  # each source's are 2 s apart already


def test_a_new_subscription_leaves_the_old_audience(site: Any, answer: Any, join: Any, seqs: Any) -> None:
    async def main() -> tuple[list[int], list[int], int]:
        async with site.running(), join(site) as peer:
            await peer.synced()
            site.publish(answer(0), answer(1))
            first = seqs(await peer.synced())
            await peer.say(type="subscribe", sources=["yard"])
            await peer.synced()
            site.publish(answer(2), answer(3, source="yard"))
            second = seqs(await peer.synced())
            audiences = len(site.server.broadcaster._live._groups)
        return first, second, audiences

    assert asyncio.run(main()) == ([1, 2], [4], 1)


def test_nobody_is_left_when_all_are_gone(site: Any, answer: Any, join: Any) -> None:
    async def main() -> bool:
        async with site.running():
            async with join(site) as peer, join(site, sources=["gate"]) as other:
                await peer.synced()
                await other.synced()
                site.publish(answer(0))
                await peer.synced()
            async with asyncio.timeout(10):
                while site.server.broadcaster._live._groups:  # noqa: ASYNC110 - closing takes a moment
                    await asyncio.sleep(0.01)
            site.publish(answer(1))
            return True

    assert asyncio.run(main())


def test_a_record_of_no_log_comes_between_the_others(site: Any, answer: Any, join: Any) -> None:
    from streamqa.sinks.base import Logged

    async def main() -> list[Any]:
        async with site.running(), join(site) as peer:
            await peer.synced()
            site.publish(answer(0))
            flagged = site.log.append([answer(1)])[0].payload | {"seq": None, "durable": False}
            site.server.broadcaster.publish([Logged(None, flagged)])
            site.publish(answer(2))
            return [message["seq"] for message in await peer.synced() if message["type"] == "answer"]

    assert asyncio.run(main()) == [1, None, 3]
