"""The ids around the user's words, for every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from streamqa.model.moondream.config import Ids, MoondreamConfig, Template


@dataclass(frozen=True, slots=True)
class Ref:
    """A place in the picture that a question refers to: a point, or with a size a box."""

    centre: tuple[float, float]
    size: tuple[float, float] | None = None

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Ref:
        """From (x, y) or (x_min, y_min, x_max, y_max), in units of the picture's width and height.

        Raises:
            ValueError: neither, or outside the picture.
        """
        if len(numbers) not in (2, 4) or not all(0 <= n <= 1 for n in numbers):
            raise ValueError(f"a spatial reference is 2 or 4 numbers from 0 to 1, got {list(numbers)}")
        if len(numbers) == 2:
            return cls((numbers[0], numbers[1]))
        x_min, y_min, x_max, y_max = numbers
        return cls(((x_min + x_max) / 2, (y_min + y_max) / 2), (x_max - x_min, y_max - y_min))


@dataclass(frozen=True, slots=True)
class PromptIds:
    """What the decoder is fed after the image prefix: a prompt, or what it goes on with."""

    ids: Ids
    coords: tuple[float, ...] = ()  # what the placeholders `coord_id` stand for, in order
    sizes: tuple[tuple[float, float], ...] = ()  # and the placeholders `size_id`


def query(
    config: MoondreamConfig,
    words: Sequence[int],
    refs: Sequence[Sequence[float]] = (),
    *,
    reasoning: bool = False,
) -> PromptIds:
    """A question; with `reasoning` the model thinks aloud before the answer."""
    special = config.tokenizer
    template = special.templates.query
    places = tuple(Ref.of(numbers) for numbers in refs)
    marks: list[int] = []
    for place in places:
        marks += [special.coord_id] * 2 + ([] if place.size is None else [special.size_id])
    end = template.suffix * special.query_suffix_repeats
    if reasoning:
        end = (*template.suffix * (special.query_suffix_repeats - 1), special.thinking_id)
    coords = tuple(number for place in places for number in place.centre)
    sizes = tuple(place.size for place in places if place.size is not None)
    return PromptIds((*template.prefix, *marks, *words, *end), coords, sizes)


def caption(config: MoondreamConfig, length: str) -> PromptIds:
    """A description of the picture.

    Raises:
        ValueError: the model has no such length.
    """
    known = config.tokenizer.templates.caption
    if length not in known:
        raise ValueError(f"this model has no {length} caption; it has {', '.join(known) or 'none'}")
    return PromptIds(known[length])


def detect(config: MoondreamConfig, words: Sequence[int]) -> PromptIds:
    """Boxes of an object."""
    return _wrap(config.tokenizer.templates.detect, words)


def point(config: MoondreamConfig, words: Sequence[int]) -> PromptIds:
    """Centres of an object."""
    return _wrap(config.tokenizer.templates.point, words)


def without_image(config: MoondreamConfig, prompt: PromptIds) -> PromptIds:
    """The same prompt about no picture: bos comes from the prompt, not from the prefix."""
    return replace(prompt, ids=(config.tokenizer.bos_id, *prompt.ids))


def _wrap(template: Template, words: Sequence[int]) -> PromptIds:
    return PromptIds((*template.prefix, *words, *template.suffix))
