"""`streamqa bench engine`: frames, answers and TFLOP per second, against this machine's ceiling and a plain baseline.

Rounds of the engine, of the baseline and of the bare matrix products take turns, so that what else the machine does
falls on all three; ratios are medians of the rounds' own ratios.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

import torch

from streamqa.bench.ceiling import Ceiling
from streamqa.bench.grid import Cell, CellKind, Selection, cells
from streamqa.bench.plain import PlainImage
from streamqa.bench.products import Product, Shape, of_work
from streamqa.bench.quick import machine
from streamqa.bench.rig import Rig
from streamqa.bench.rounds import Attempt, interleaved, settle
from streamqa.bench.rows import About, Samples, as_row, slopes
from streamqa.bench.weights import LOGIT_STD, SIZES
from streamqa.errors import ConfigError, ModelError
from streamqa.model.moondream.crops import unique_crops
from streamqa.model.moondream.model import best_dtype

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
_ROUND_S = 0.5  # a row's round is as many calls as take so long, at least one
_MAX_CALLS = 50
_SQUARE = {"cuda": 8192, "cpu": 4096}  # side of the product that stands for the machine
NO_GPU = (
    "no GPU here: with one this would measure the whole grid with 1, 4 and 8 frames in flight and the"
    " Kestrel-shaped row, with CUDA synchronised around each call, and peak memory"
)
_APPROXIMATE = (
    "detail: fast changes nothing for the model tiny, which reads every picture as one crop",
    "rows of 8 bits, too, are measured against the ceiling of the exact dtype, so more than 100 % is possible",
)
Say: TypeAlias = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What to measure, and how long at most."""

    selection: Selection
    dtypes: tuple[str, ...] = ()  # of DTYPES; empty: the machine's best
    rounds: int = 5
    minutes: float = 10.0  # after which no round is begun, but for the first three, and no noisy row again
    size: str = "full"

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ConfigError(f"--size {self.size}: there are {', '.join(SIZES)}")
        for name in self.dtypes:
            if name not in DTYPES:
                raise ConfigError(f"--dtype {name}: there are {', '.join(DTYPES)}")


def run(settings: Settings, say: Say) -> dict[str, Any]:
    """Measure everything and return the result as a JSON-ready object.

    Args:
        settings: what to measure.
        say: takes lines of progress.

    Raises:
        StreamQAError: the model did not answer.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = cells(settings.selection, device.type == "cuda")
    if device.type == "cpu":
        say(NO_GPU)
    until_s = time.monotonic() + 60 * settings.minutes
    default = next(name for name, dtype in DTYPES.items() if dtype == best_dtype(device))
    where = {**asdict(machine()), **_where(device, settings)}
    parts = [
        Run(settings, name, device, say).measure(rows, lambda: time.monotonic() < until_s)
        for name in settings.dtypes or (default,)
    ]
    where["load_average_after"] = machine().load_average
    return {
        "machine": where,
        "ceiling": [part["ceiling"] for part in parts] if len(parts) > 1 else parts[0]["ceiling"],
        "rows": [row for part in parts for row in part["rows"]],
        "slope": [slope for part in parts for slope in part["slope"]],
        "equivalence": [found for part in parts for found in part["equivalence"]],
        "notes": [*_notes(), *(_APPROXIMATE if settings.selection.approximate else [])],
    }


def _where(device: torch.device, settings: Settings) -> dict[str, Any]:
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "rounds": settings.rounds,
        "size": settings.size,
    }


def _notes() -> list[str]:
    return [
        f"random weights, logits of standard deviation {LOGIT_STD:g}; eos is biased away, so lengths are fixed",
        "spread: interquartile range over median of the rounds; a row is noisy above 15 %",
        "draft_acceptance 1: the last answer to the same picture is the draft; 0: as many random tokens",
        "baseline: batch 1, one question at a time, masked attention over the whole context, no drafts; per round one"
        " encode and one question are timed, and the questions count in proportion, being independent",
        "baseline_ratio counts the baseline's forward after the last token, in which an end of text would show;"
        " baseline_ratio_to_last does not",
        "0 answer tokens: yes or no, scored; the baseline answers with one token",
        "ceiling: FLOP of the whole pass over the sum of count x best isolated time of each of its shapes; best of"
        " all rounds, weights warm, so rows that decode, whose steps each read all weights, stay far below it; and so"
        " does every row while the machine does something else",
        "equivalence: tokens said without drafts against the baseline's choice at each place, and by how much each"
        " flip was decided; bfloat16 logits of this size are 0.125 apart",
    ]


class Run:
    """All rows of one dtype."""

    def __init__(self, settings: Settings, dtype: str, device: torch.device, say: Say) -> None:
        self.settings, self.dtype, self.device, self.say = settings, dtype, device, say
        say(f"making random weights, {dtype}")
        self.rig = Rig(settings.size, DTYPES[dtype], device)
        self.ceiling = Ceiling(device, DTYPES[dtype], quick=settings.size != "full")
        side = _SQUARE[device.type] if settings.size == "full" else 64
        self.square = Shape("linear", side, side, side)
        self.samples = Samples()
        self.products: dict[Cell, list[Product]] = {}
        self.more: dict[Cell, dict[str, Any]] = {}
        self._calls: dict[Cell, int] = {}  # in each round
        self._encoded: PlainImage | None = None
        self._next_round = 0

    def measure(self, rows: Sequence[Cell], may_go_on: Callable[[], bool]) -> dict[str, Any]:
        """Everything about `rows`; noisy ones again while it `may_go_on`."""
        able = {kind: self._can(kind) for kind in dict.fromkeys(cell.kind for cell in rows)}
        rows = [cell for cell in rows if able[cell.kind]]
        self.say("asking everything once, for the drafts")
        self.rig.prepare(rows)
        subjects = {s.crops: s for s in self.rig.answers if s.kind == "exact"}
        self.say("comparing tokens with the baseline's")
        equivalence = [{"dtype": self.dtype, **self.rig.compare(s)} for s in subjects.values()]
        for cell in rows:
            self._warm(cell)
        settled = settle(rows, lambda some: self._attempts(some, may_go_on), may_go_on)
        result = {
            "ceiling": self.ceiling.as_json(self.square),
            "rows": [as_row(cell, settled[cell], self.samples, self._about(cell)) for cell in rows],
            "slope": [{"dtype": self.dtype, **slope} for slope in slopes(rows, self.samples)],
            "equivalence": equivalence,
        }
        self.rig.close()
        return result

    def _can(self, kind: CellKind) -> bool:
        """Whether this machine has the precision of such rows."""
        try:
            self.rig.model(kind)
        except ModelError as problem:
            self.say(f"left out: {kind}: {problem}")
            return False
        return True

    def _warm(self, cell: Cell) -> None:
        """What does not count: first calls, and drafts that settle."""
        self.products[cell] = of_work(self.rig.config, self.rig.work(cell))
        self.more[cell] = {"dtype": self.dtype, "quality": self.rig.changed(cell)}
        self._calls[cell] = 1
        cuda = self.device.type == "cuda"
        if not cuda and cell.answer_tokens and cell.draft_acceptance == 0.0:
            return  # nothing settles there, and a CPU was warmed up by asking everything once
        self.say(f"warming up: {cell.name}")
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        took_s = self.rig.warm(cell)
        if cuda:
            self.more[cell]["peak_memory_gb"] = round(torch.cuda.max_memory_allocated(self.device) / 1e9, 3)
        if self.settings.size == "full":
            self._calls[cell] = max(1, min(_MAX_CALLS, round(_ROUND_S / took_s)))

    def _attempts(self, rows: Sequence[Cell], may_go_on: Callable[[], bool]) -> dict[Cell, Attempt]:
        """One set of rounds; between the rows' rounds are those of the baseline and of the bare products."""
        tasks: dict[object, Callable[[int], float]] = {"machine": self._machine}
        shapes: set[Shape] = set()
        for cell in rows:
            new = dict.fromkeys(p.shape for p in self.products[cell] if p.shape not in shapes)
            shapes.update(new)
            length = cell.question_tokens
            most = max([1, *(row.answer_tokens for row in rows if row.question_tokens == length)])
            tasks[cell] = partial(self._engine, cell)
            tasks["products", cell] = partial(self._products, tuple(new))
            tasks["encode", cell.crops] = partial(self._encode, cell.crops)
            tasks["question", length] = partial(self._question, length, most)
        numbers = tuple(range(self._next_round, self._next_round + self.settings.rounds))
        self._next_round += self.settings.rounds
        seconds = interleaved(tasks, numbers, self.say, may_go_on)
        return {cell: Attempt(numbers[: len(seconds[cell])], tuple(seconds[cell])) for cell in rows}

    def _engine(self, cell: Cell, number: int) -> float:
        """A round of a row: mean seconds of its calls."""
        requests = self.rig.requests(cell)
        seconds = []
        for _ in range(self._calls[cell]):
            took_s, said = self.rig.call(cell, requests)
            seconds.append(took_s)
        self.samples.calls.setdefault(cell, {})[number] = seconds
        self.more[cell]["drafts_held"] = self.rig.held(cell, said)
        return self.samples.engine_s(cell, number)

    def _encode(self, crops: int, number: int) -> float:
        """A round of the baseline's look at one picture."""
        picture = self.rig.picture(crops, 0)
        start_s = self._clock()
        self._encoded = self.rig.plain.encode(picture)
        seconds = self._clock() - start_s
        self.samples.encodes.setdefault(crops, {})[number] = seconds
        return seconds

    def _question(self, length: int, tokens: int, number: int) -> float:
        """A round of the baseline's answer: one question, of `length` words, answered with `tokens` tokens.

        From its tokens' times follows what fewer of them cost; how many crops the picture had does not matter.
        """
        if self._encoded is None:
            self._encoded = self.rig.plain.encode(self.rig.picture(1, 0))
        prompt = self.rig.prompt_ids(self.rig.question(length, number))
        answer = self.rig.plain.answer(self._encoded, prompt, tokens, self._clock)
        self.samples.questions.setdefault(length, {})[number] = answer
        return answer.seconds(tokens)

    def _products(self, shapes: Sequence[Shape], _: int) -> float:
        """A round of bare products."""
        start_s = self._clock()
        self.ceiling.measure(shapes)
        return self._clock() - start_s

    def _machine(self, number: int) -> float:
        """A round of what stands for the machine: a big product, and a big copy."""
        self.ceiling.measure_copy()
        return self._products([self.square], number)

    def _about(self, cell: Cell) -> About:
        products = self.products[cell]
        linear = [product for product in products if product.shape.kind == "linear"]
        return About(
            work=self.rig.work(cell),
            products=products,
            ceiling_s=self.ceiling.seconds(products),
            ceiling_linear_s=self.ceiling.seconds(linear),
            more=self.more[cell] | {"preprocess_ms": self._preprocess_ms(cell.crops)},
        )

    def _preprocess_ms(self, crops: int) -> float:
        """Resizing of one picture, which the rows' times include: the best of a few."""
        picture = self.rig.picture(crops, 0)
        best_s = float("inf")
        for _ in range(5):
            start_s = time.perf_counter()
            unique_crops(picture, self.rig.config.vision)
            best_s = min(best_s, time.perf_counter() - start_s)
        return round(1e3 * best_s, 2)

    def _clock(self) -> float:
        """Seconds, once the device has done what it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
