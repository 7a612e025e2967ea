"""Which part of a frame a question is asked about: each zone is a picture of its own, cut out once. Pure.

Questions without a zone share the whole frame, questions with the same zone share its cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING

from streamqa.capture.region import Look
from streamqa.engine import gate
from streamqa.engine.batching import NOTHING, Work
from streamqa.engine.gate import Thumbnail
from streamqa.types import Box, Detail, Frame, Generation, Point, Question, Request, Zone

if TYPE_CHECKING:
    from streamqa.types import Image


class View:
    """The part of a frame that lies in a zone. Nothing is cut out before somebody looks."""

    def __init__(self, frame: Frame, look: Look) -> None:
        self._frame, self._look = frame, look

    @cached_property
    def image(self) -> Image:
        """What is seen, uint8 (H, W, 3) RGB."""
        return self._look.apply(self._frame.image)

    @cached_property
    def thumbnail(self) -> Thumbnail:
        """What the change gate compares of it."""
        return gate.thumbnail(self.image)

    def in_frame(self, said: Generation) -> Generation:
        """`said` of this view, with its points and boxes as parts of the frame's whole picture."""
        if not said.points and not said.boxes:
            return said
        shape: tuple[int, ...] = self._frame.image.shape
        height, width = shape[:2]
        cut = self._look.cut(height, width)
        left, top, wide, high = cut.left / width, cut.top / height, cut.width / width, cut.height / height

        def x(part: float) -> float:
            return left + part * wide

        def y(part: float) -> float:
            return top + part * high

        points = tuple(Point(x(p.x), y(p.y)) for p in said.points)
        boxes = tuple(Box(x(b.x_min), y(b.y_min), x(b.x_max), y(b.y_max)) for b in said.boxes)
        return replace(said, points=points, boxes=boxes)


class Views:
    """The zones of the questions on the pictures of each source."""

    def __init__(self) -> None:
        self._looks: dict[
            tuple[str, Zone | None], Look
        ] = {}  # of each source: a look knows one size at a time

    def of(self, frame: Frame, zone: Zone | None) -> View:
        """The part of `frame` that lies in `zone`; all of it where there is none."""
        return View(frame, self._look(frame, zone))

    def forget(self, source: str) -> None:
        """Free what is remembered of a source."""
        for key in [key for key in self._looks if key[0] == source]:
            del self._looks[key]

    def work(self, frame: Frame, questions: Iterable[Question]) -> Work:
        """What it takes to ask `questions` of `frame`; known before anything is cut out."""
        height, width, _ = frame.image.shape
        works = []
        for zone, prompts in Counter(question.zone for question in questions).items():
            cut = self._look(frame, zone).cut(height, width)
            works.append(_work(cut.height, cut.width, frame.detail, prompts))
        return reduce(Work.plus, works, NOTHING)

    def _look(self, frame: Frame, zone: Zone | None) -> Look:
        return self._looks.setdefault((frame.source, zone), Look(zone))


def work_of(requests: Iterable[Request]) -> Work:
    """What these requests, as they went into the model, asked of it."""
    shown = ((r.image.shape, r) for r in requests if r.image is not None)
    works = (_work(shape[0], shape[1], r.detail, len(r.prompts)) for shape, r in shown)
    return reduce(Work.plus, works, NOTHING)


def _work(height: int, width: int, detail: Detail, prompts: int) -> Work:
    return Work(1, prompts, 0.0 if detail == "fast" else min(1.0, height * width / 1e6))
