"""The words of streamqa: frozen values that state, and check, their shapes and units.

No numpy at run time: the client and `--help` import this module too. Stream time is integer nanoseconds
(`t_ns`) inside, because floats misplace ticks (0.6 / 0.2 floors to 2); seconds (`t_s`) only on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from streamqa.conditions import AlertRule, Follow
    from streamqa.hours import Hours

    Image: TypeAlias = npt.NDArray[np.uint8]

NS_PER_S = 1_000_000_000

Clock = Literal["rtcp", "arrival", "media"]
Kind = Literal["text", "yes_no", "choice", "number", "caption", "points", "boxes"]
Task = Literal["query", "reason", "caption", "point", "detect"]
State = Literal["ok", "unsure", "stale", "error"]
Precision = Literal["exact", "int8", "fp8"]  # of the model's large layers; exact: as its weights are
Detail = Literal["full", "fast"]  # fast: the frame scaled to one crop
SourceState = Literal["connecting", "live", "stalled", "frozen", "reconnecting", "refused", "paused", "ended"]
Decide = Literal["latest", "majority", "any", "all", "mean", "k_of_n"]
Look = Literal["frame", "storyboard"]  # storyboard: the window's frames, side by side in one picture

KINDS: tuple[str, ...] = get_args(Kind)
DEVICE_PATTERN = r"^(cpu|mps|cuda(:\d{1,2})?)$"
DEVICE_ADVICE = "no such device; write cpu, cuda, cuda:1 or mps"
CLOSED_KINDS: tuple[str, ...] = ("yes_no", "choice", "number")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture of one source."""

    source: str
    index: int  # 0, 1, 2… of the frames that the sampler kept
    t_ns: int  # stream time since the source was first opened; never goes back, also across reconnects
    captured_at: datetime | None  # wall clock, UTC; None for recorded video
    clock: Clock  # where the time comes from
    received_ns: int  # monotonic clock when the frame left the decoder, for latencies
    image: Image  # uint8 (H, W, 3), RGB: of the source's zone, with its masks blacked out
    delay_ns: int = 0  # how much longer than others it took to come, where that is known
    detail: Detail = "full"  # what the model is to look at
    # Stretches of stream time, [from, to), in which the source was paused, in order; the latest ones.
    pauses: tuple[tuple[int, int], ...] = ()
    is_live: bool = True  # False: it waits for its turn, however long, as those of files do

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != "uint8":
            raise ValueError(f"image must be uint8 (H, W, 3), got {self.image.dtype} {self.image.shape}")
        if min(self.image.shape) < 1:
            raise ValueError(f"image must not be empty, got {self.image.shape}")
        if self.t_ns < 0 or self.index < 0:
            raise ValueError(f"t_ns and index must not be negative, got {self.t_ns}, {self.index}")
        if self.captured_at is not None and self.captured_at.tzinfo is None:
            raise ValueError("captured_at must carry a time zone")
        if self.delay_ns < 0:
            raise ValueError(f"delay_ns must not be negative, got {self.delay_ns}")

    @property
    def t_s(self) -> float:
        """Stream time in seconds."""
        return self.t_ns / NS_PER_S

    @property
    def wall(self) -> datetime | None:
        """When it was captured, if its source is live: only there do stream time and wall time run together."""
        return self.captured_at if self.is_live else None

    def __repr__(self) -> str:
        height, width, _ = self.image.shape
        return f"Frame({self.source!r}, #{self.index}, t={self.t_s:.3f} s, {width}x{height})"


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a closed list: the value it stands for and the texts that may express it."""

    value: bool | int | str
    variants: tuple[str, ...]  # written forms, in order, without duplicates

    def __post_init__(self) -> None:
        if not self.variants or any(not v.strip() for v in self.variants):
            raise ValueError(f"option {self.value!r} needs at least one text that is not blank")


@dataclass(frozen=True, slots=True)
class Point:
    """A position in a picture, origin top left, in units of its width and height."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in a picture, origin top left, in units of its width and height; may leave [0, 1]."""

    x_min: float
    y_min: float
    x_max: float
    y_max: float


@dataclass(frozen=True, slots=True)
class Zone:
    """A part of a picture: a polygon, of which a rectangle is one, in units of the picture's width and height."""

    corners: tuple[Point, ...]  # in order around it

    def __post_init__(self) -> None:
        if len(self.corners) < 3:
            raise ValueError(f"a zone has at least 3 corners, got {len(self.corners)}")
        if any(not 0 <= x <= 1 for corner in self.corners for x in (corner.x, corner.y)):
            raise ValueError("a zone's corners lie within the picture: each number is from 0 to 1")
        box = self.box
        if box.x_max <= box.x_min or box.y_max <= box.y_min:
            raise ValueError("a zone must not be empty")

    @property
    def box(self) -> Box:
        """The smallest rectangle around it."""
        xs, ys = [corner.x for corner in self.corners], [corner.y for corner in self.corners]
        return Box(min(xs), min(ys), max(xs), max(ys))


@dataclass(frozen=True, slots=True)
class Gate:
    """When a question is not asked again, because the picture has not changed. Approximate."""

    threshold: float  # of the change measure of `engine/gate.py`, 0…1; up to it a picture counts as unchanged
    refresh_ns: int  # stream time after which it is asked whatever the picture
    audit: float  # probability of asking all the same, to measure how often reusing would be wrong

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1 or not 0 <= self.audit <= 1:
            raise ValueError(f"threshold and audit must be 0…1, got {self.threshold}, {self.audit}")
        if self.refresh_ns <= 0:
            raise ValueError(f"refresh must be positive, got {self.refresh_ns} ns")


@dataclass(frozen=True, slots=True)
class Question:
    """A standing query: what to ask, of which sources, how often, and how the window decides."""

    id: str
    ask: str
    kind: Kind
    every_ns: int  # the slide: tick k is due at the first frame with t_ns // every_ns >= k
    window_ns: int = 0  # readings of (t - window, t] decide; 0: the frame's own reading
    decide: Decide = "latest"
    k_of_n: tuple[int, int] | None = None  # only with decide="k_of_n"
    sources: tuple[str, ...] | None = None  # None: every source
    choices: tuple[str, ...] = ()  # only with kind="choice"
    max: int = 9  # only with kind="number": the closed list is 0…max
    max_tokens: int = 64  # of a free answer
    gate: Gate | None = None  # None: asked at every tick
    zone: Zone | None = None  # the part of the source's picture that the model sees; None: all of it
    when: Hours | None = None  # active hours, of frames with a wall time (live ones); None: always
    max_age_ns: int | None = None  # live: an older frame is `stale`; None: two slides
    is_paused: bool = False  # not asked; the ticks that pass meanwhile are `inactive`
    # On the probability of yes, or on the score of the best option. From `above` on it is decided, up to `below` it
    # is decided against, between them nothing is. None for both: the more probable option is decided.
    above: float | None = None
    below: float | None = None  # only with kind="yes_no"
    hold_ns: int = 0  # a value has to be decided for so long before it takes the place of the one before it
    max_words: int | None = None  # of a free answer
    only_if: Follow | None = None  # asked only while that holds; ticks that pass meanwhile are `inactive`
    look: Look = "frame"
    alerts: tuple[AlertRule, ...] = ()

    def __post_init__(self) -> None:
        if self.hold_ns < 0:
            raise ValueError(f"for must not be negative, got {self.hold_ns} ns")
        if self.every_ns <= 0:
            raise ValueError(f"every must be positive, got {self.every_ns} ns")
        if self.window_ns < 0:
            raise ValueError(f"window must not be negative, got {self.window_ns} ns")
        if (self.decide == "k_of_n") != (self.k_of_n is not None):
            raise ValueError("k_of_n is given exactly when decide is 'k_of_n'")
        if self.max_age_ns is not None and self.max_age_ns <= 0:
            raise ValueError(f"max_age must be positive, got {self.max_age_ns} ns")

    @property
    def age_limit_ns(self) -> int:
        """`max_age_ns`, or what it is where none is given."""
        return 2 * self.every_ns if self.max_age_ns is None else self.max_age_ns

    def asks(self, source: str) -> bool:
        """Whether this question is asked of `source`."""
        return self.sources is None or source in self.sources


@dataclass(frozen=True, slots=True)
class Moment:
    """Which frame of a source: the newest one, or that which was the newest at a moment of the recent past."""

    t_ns: int | None = None  # stream time
    at: datetime | None = None  # wall clock
    ago_ns: int | None = None

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.t_ns, self.at, self.ago_ns)) > 1:
            raise ValueError("a moment is given by one of t, at and ago, or by none")
        if min(self.t_ns or 0, self.ago_ns or 0) < 0:
            raise ValueError("a moment's t and ago must not be negative")
        if self.at is not None and self.at.tzinfo is None:
            raise ValueError("a moment's at must carry a time zone")


NEWEST = Moment()


@dataclass(frozen=True, slots=True)
class Due:
    """A question that has come due on a frame."""

    question: Question
    tick: int
    skipped: int  # earlier ticks that passed without an answer and are merged into this one
    inactive: int = 0  # earlier ticks in which it was not to be asked: paused, or outside of its active hours


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to ask the model about a picture."""

    text: str  # the question, or the object's name for point and detect; unused by caption
    task: Task = "query"
    options: tuple[Option, ...] = ()  # not empty: the answer is scored over these, not generated
    max_tokens: int = 64  # of a generated answer
    draft: str = ""  # what the answer may well be, such as the last one; never changes it, only what it costs
    length: Literal["short", "normal", "long"] = "normal"  # caption only
    max_objects: int = 50  # point and detect only

    def __post_init__(self) -> None:
        if self.options and self.task != "query":
            raise ValueError(f"only a query has options, got task {self.task!r}")
        if self.max_tokens < 1 or self.max_objects < 1:
            raise ValueError("max_tokens and max_objects must be at least 1")


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """A picture and every prompt that is due on it."""

    image: Image | None  # uint8 (H, W, 3), RGB; None: text only
    prompts: tuple[Prompt, ...]
    detail: Detail = "full"  # what the model looks at; "fast" is approximate
    # Nothing is looked at or said: a prompt that could not be answered about a picture (too long, a task that the
    # model has not) gives its error, every other one an empty generation with finish "eos".
    check_only: bool = False


@dataclass(frozen=True, slots=True)
class Generation:
    """What the model said to one prompt."""

    text: str
    tokens: int  # generated, without eos; 0 when scored
    finish: Literal["eos", "length", "scored", "error"]
    logprob: float = 0.0  # mean log-probability of the generated tokens, eos included
    option_probs: tuple[float, ...] = ()  # full-vocabulary probability of each option, in the prompt's order
    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()
    reasoning: str = ""
    error: str = ""  # with finish="error": one line that says what went wrong


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What answers: named in every record and in `hello`."""

    name: str
    revision: str
    device: str
    dtype: str
    tasks: frozenset[Task]
    note: str = ""  # what a user must know not to be misled, e.g. that it knows synthetic scenes only
    max_frames: int = 16  # pictures that fit into its memory at once
    in_flight: int = 1  # calls of `answer` that may run at once: while one computes, the next is prepared

    @property
    def label(self) -> str:
        """`name@revision`."""
        return f"{self.name}@{self.revision}"


Value: TypeAlias = bool | int | float | str | tuple[Point, ...] | tuple[Box, ...] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one frame's generation says, by itself."""

    value: Value  # None unless state is "ok"
    confidence: float | None  # the largest score, or the mean token probability of a free answer
    state: State
    reason: str = ""  # "" when ok, else a short stable word: off_list, error…
    text: str = ""
    scores: tuple[tuple[str, float], ...] = ()  # (option, probability / mass), closed kinds only
    mass: float | None = None  # probability of saying any option at all, closed kinds only

    def __post_init__(self) -> None:
        if self.state != "ok" and self.value is not None:
            raise ValueError(f"a reading in state {self.state} has no value, got {self.value!r}")


@dataclass(frozen=True, slots=True)
class Decision:
    """What the window says."""

    value: Value
    confidence: float | None
    state: State
    reason: str
    start_ns: int  # stream time of the oldest reading inside
    frames: int  # readings inside
    agree: int  # of these, how many have the decided value
    since_ns: int | None = (
        None  # stream time of the first reading of the run that decided; None: nothing is decided
    )
    scores: tuple[tuple[str, float], ...] = ()  # of each option, pooled over the window; closed kinds only


def utc_now() -> datetime:
    """The wall clock, UTC."""
    return datetime.now(UTC)


def iso_ms(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and `Z`, as every wall time on the wire."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
