"""What those who come back are given: in pages, thinned as live answers are, and never more than they read."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from streamqa.server.protocol import Subscribe
from streamqa.server.replay import wanted_texts
from streamqa.server.session import Place, Session
from streamqa.sinks.reading import Page


def test_a_page_is_thinned_as_live_answers_are() -> None:
    session = Session()
    session.subscribe(Subscribe(since=0, min_interval_s=2.0), Place("e", 1, 9), 9)
    rows = [
        (
            n,
            json.dumps(
                {"type": "answer", "question": "q", "source": "s", "t_s": n, "state": "ok", "value": 1}
            ),
        )
        for n in range(1, 6)
    ]
    texts = wanted_texts(session, Page(1, rows, True))
    assert [json.loads(text)["t_s"] for text in texts] == [1, 3, 5]


def test_thinning_goes_on_across_the_join(site: Any, answer: Any, join: Any) -> None:
    async def main() -> list[float]:
        async with site.running():
            site.publish(*(replace(answer(n), t_ns=n * 10**9) for n in range(10)))
            async with join(site, since=0, epoch=site.log.epoch, min_interval_s=4.0) as peer:
                heard = await peer.hear_until(9)
                site.publish(*(replace(answer(n), t_ns=n * 10**9) for n in range(10, 14)))
                heard += await peer.hear_until(13)
                heard += await peer.synced()
                return [message["t_s"] for message in heard if message["type"] == "answer"]

    assert asyncio.run(main()) == [0, 4, 8, 12]


def test_a_long_log_comes_in_pages_whole_and_in_order(
    make_site: Any, answer: Any, join: Any, seqs: Any
) -> None:
    site = make_site(replay_batch=7, replay_bytes=2000)

    async def main() -> list[int]:
        async with site.running():
            for _ in range(3):
                site.publish(*(answer(n) for n in range(100)))
            async with join(site, since=0, epoch=site.log.epoch) as peer:
                return seqs(await peer.hear_until(300))

    assert asyncio.run(main()) == list(range(1, 301))
    assert site.count("records_replayed_total") == 300
