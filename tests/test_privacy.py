"""What is masked reaches nobody: neither the model nor the log, the page, a picture or a subscriber."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import urllib.request
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image as Pictures

from streamqa.capture.encode import write_video
from streamqa.capture.source import SourceSpec
from streamqa.client import subscribe
from streamqa.metrics import Metrics
from streamqa.pipeline import Parts, Pipeline
from streamqa.server.listen import listen
from streamqa.service import run_service
from streamqa.sinks.log import AnswerLog
from streamqa.testing import ScriptedModel
from streamqa.types import Box, Gate, Point, Prompt, Question, Value, Zone

if TYPE_CHECKING:
    from streamqa.types import Image

WIDTH, HEIGHT = 192, 128
MASK = Box(0.33, 0.26, 0.66, 0.74)
WORD = "chequered"  # what the model would call it
# Of the mask's inside and outside, its edge through the middle, and a polygon around all of it.
ZONES = (
    None,
    Zone((Point(0.4, 0.4), Point(0.6, 0.4), Point(0.6, 0.6), Point(0.4, 0.6))),
    Zone((Point(0.5, 0), Point(1, 0), Point(1, 0.5), Point(0.5, 0.5))),
    Zone((Point(0.5, 0.05), Point(0.95, 0.5), Point(0.5, 0.95), Point(0.05, 0.5))),
)


def secretive(number: int) -> Image:
    """Dark grey, a little different each time, with a chequered field of black and white in the middle."""
    image = np.full((HEIGHT, WIDTH, 3), 40 + number % 5, np.uint8)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    squares = ((rows // 4 + columns // 4 + number) % 2 * 255).astype(np.uint8)
    # A little smaller than the mask: an encoder spreads sharp edges over its own blocks.
    image[48:80, 76:116] = squares[48:80, 76:116, None]
    return image


def shows(image: Image) -> bool:
    """Whether the secret, or a trace of it, is in a picture: nothing else is brighter than dark grey."""
    return int(image.max()) > 90


@dataclass
class Seen:
    """Everything that came out."""

    images: list[Image] = field(default_factory=list)  # that the model was given
    latest: list[Image] = field(default_factory=list)  # as the server gives them, decoded again
    texts: list[str] = field(default_factory=list)  # messages, answers over HTTP, the log's files

    def say(self, image: Image | None, prompt: Prompt) -> Value:
        assert image is not None
        self.images.append(image)
        if prompt.task == "point":
            return (Point(0.5, 0.5),) if shows(image) else ()
        return WORD if shows(image) else "nothing much"


def questions() -> tuple[Question, ...]:
    """With each zone a free question, one that is gated and one for points."""
    gate = Gate(0.001, 10**9, audit=0.5)
    kinds: list[tuple[Any, Gate | None]] = [("text", None), ("text", gate), ("points", None)]
    return tuple(
        Question(f"q{z}{k}", "?", kind, 200_000_000, zone=zone, gate=gated, max_age_ns=10**11)
        for z, zone in enumerate(ZONES)
        for k, (kind, gated) in enumerate(kinds)
    )


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as response:
        body: bytes = response.read()
        return body


async def listened(url: str, seen: Seen, answers: int) -> None:
    """All messages up to so many answers."""
    messages = subscribe(url.replace("http://", "ws://") + "ws", since=0)
    async for message in messages:
        seen.texts.append(json.dumps(message.raw))
        answers -= message.type == "answer"
        if not answers:
            break
    await messages.aclose()


def served(folder: Path, spec: SourceSpec) -> Seen:
    """Run the whole service on a source for some ticks; look at everything that it gives."""
    seen, stop, ready, urls = Seen(), threading.Event(), threading.Event(), list[str]()

    def on_ready(url: str) -> None:
        urls.append(url)
        ready.set()

    def run() -> None:
        with closing(AnswerLog(folder / "answers.db")) as log:
            parts = Parts(questions(), (spec,), ScriptedModel(seen.say), log, (), Metrics())
            asyncio.run(run_service(parts, listen("127.0.0.1", 0), stop, on_ready=on_ready))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(20)
        (url,) = urls
        asyncio.run(asyncio.wait_for(listened(url, seen, 5 * len(questions())), 30))
        picture = Pictures.open(io.BytesIO(get(f"{url}sources/cam/latest.jpg")))
        seen.latest.append(np.asarray(picture.convert("RGB")))
        seen.texts += [get(url + path).decode() for path in ("api/records?limit=1000", "api/info", "metrics")]
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    seen.texts += [path.read_bytes().decode("latin-1") for path in folder.glob("answers.db*")]
    return seen


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secret") / "clip.mp4"
    write_video(path, (secretive(n) for n in range(20)), 10, crf=10)
    return path


@pytest.mark.parametrize("zone", [None, ZONES[2], ZONES[3]], ids=["whole", "corner", "polygon"])
def test_nothing_masked_leaves_capture(tmp_path: Path, clip: Path, zone: Zone | None) -> None:
    spec = SourceSpec("cam", str(clip), pace="realtime", loop=True, masks=(MASK,), zone=zone)
    seen = served(tmp_path, spec)
    assert len(seen.images) > 5 * len(ZONES)
    assert not [image.shape for image in (*seen.images, *seen.latest) if shows(image)]
    assert not [text[:300] for text in seen.texts if WORD in text]
    points = [record for text in seen.texts if '"points"' in text for record in _records(text)]
    assert points
    assert {len(record["value"]) for record in points} == {0}
    # and it is not for want of a picture: what is not masked is there
    assert any(image.min() == 0 and image.max() > 30 for image in seen.latest)


def test_without_the_mask_all_of_them_would_show_it(tmp_path: Path, clip: Path) -> None:
    """Else the test above could not fail."""
    seen = served(tmp_path, SourceSpec("cam", str(clip), pace="realtime", loop=True))
    assert all(shows(image) for image in (*seen.images, *seen.latest))
    carrying = [text for text in seen.texts if WORD in text]
    assert {text[:6] for text in carrying} >= {'{"type', '{"epoc', "SQLite"}


def _records(text: str) -> Sequence[dict[str, Any]]:
    if not text.startswith("{"):
        return []
    message = json.loads(text)
    found = message.get("records", [message])
    return [record for record in found if record.get("kind") == "points"]


def test_a_recordings_newest_picture_is_masked_too(clip: Path) -> None:
    seen = Seen()
    with closing(AnswerLog(":memory:")) as log:
        spec = SourceSpec("cam", str(clip), masks=(MASK,), detail="fast")
        parts = Parts(questions(), (spec,), ScriptedModel(seen.say), log, (), Metrics())
        pipeline = Pipeline(parts)
        pipeline.start()
        assert pipeline.wait(30)
        pipeline.stop()
        assert WORD not in json.dumps([record.payload for record in log.read(0, 1000)])
    latest = pipeline.latest("cam")
    assert latest is not None
    assert latest.shape == (HEIGHT, WIDTH, 3)
    assert not shows(latest)
    assert seen.images
    assert not any(shows(image) for image in seen.images)
