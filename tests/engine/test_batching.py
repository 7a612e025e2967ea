import random
from collections.abc import Sequence
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.engine.batching import NOTHING, PAYS, Candidate, Cost, Costs, Load, Room, Work, batch_size

SECOND = 1_000_000_000


def cost(fixed_s: float, frame_s: float, prompt_s: float = 0.0) -> Cost:
    return lambda work: (fixed_s + work.pictures * frame_s + work.prompts * prompt_s) * SECOND


def due(in_s: float | None, priority: int = 0, prompts: int = 1) -> Candidate:
    return Candidate(priority, None if in_s is None else round(in_s * SECOND), Work(1, prompts, 0.3))


def together(candidates: Sequence[Candidate]) -> Work:
    return reduce(Work.plus, [candidate.work for candidate in candidates], NOTHING)


# batch_size


def test_a_batch_ends_before_the_earliest_deadline_inside() -> None:
    tenth = cost(0.1, 0.1)
    assert batch_size([due(1.0)] * 20, 16, 0, tenth) == 9  # 0.1 + 9 × 0.1
    assert batch_size([due(1.0), due(0.35), due(1.0)], 16, 0, tenth) == 2
    assert (
        batch_size([due(1.0), due(1.0), due(1.0), due(0.35)], 16, 0, tenth) == 3
    )  # it would be late with the others


def test_memory_bounds_every_batch_and_a_recording_knows_no_other_bound() -> None:
    assert batch_size([due(None)] * 40, 16, 0, cost(100, 100)) == 16
    assert batch_size([due(9)] * 40, 4, 0, cost(0, 0)) == 4


def test_at_least_one_frame_is_taken() -> None:
    assert batch_size([due(-5)], 1, 0, cost(100, 100)) == 1
    assert batch_size([], 1, 0, cost(1, 1)) == 0


def test_what_is_late_waits_for_others_only_as_long_as_that_pays() -> None:
    late = [due(0.01)] * 64
    assert batch_size(late, 64, 0, cost(0.0, 1.2)) == 1  # nothing to share: each other frame only delays it
    assert batch_size(late, 64, 0, cost(1.0, 0.1)) == 40  # 1 + 40 × 0.1 = 5 × 1
    assert batch_size([due(0.01), due(5), due(5)], 64, 0, cost(1.0, 0.1)) == 3
    assert PAYS == 5


def test_what_is_late_does_not_wait_for_a_lower_priority() -> None:
    offered = [due(0.01, priority=1), due(0.01, priority=1), due(9, priority=0), due(None, priority=0)]
    assert batch_size(offered, 64, 0, cost(1.0, 0.1)) == 2
    in_time = [due(5, priority=1), due(9, priority=0), due(None, priority=-1)]
    assert batch_size(in_time, 64, 0, cost(1.0, 0.1)) == 3


def test_deadlines_do_not_hold_a_batch_below_the_size_that_keeps_up() -> None:
    tenth = cost(0.1, 0.1)
    assert batch_size([due(0.45)] * 20, 16, 0, tenth) == 3
    assert batch_size([due(0.45)] * 20, 16, 0, tenth, lambda _: 7.9) == 7
    # but for the deadlines of a higher priority
    mixed = [due(0.45, priority=1)] * 2 + [due(0.45)] * 20
    assert batch_size(mixed, 16, 0, tenth, lambda priority: 2.0 if priority else 7.9) == 3
    loose = [due(0.85, priority=1)] * 2 + [due(0.45)] * 20
    assert batch_size(loose, 16, 0, tenth, lambda priority: 2.0 if priority else 6.0) == 6


def test_frames_without_prompts_cost_nothing() -> None:
    offered = [due(0, prompts=0)] * 3 + [due(1.0)] + [due(0, prompts=0)] * 3 + [due(1.0)] * 3
    assert batch_size(offered, 2, 0, cost(0.1, 0.1)) == 8
    assert batch_size([due(1.0, prompts=1), due(1.0, prompts=100)], 9, 0, cost(0.1, 0.1, 0.01)) == 1


def test_a_frame_with_several_zones_is_as_many_pictures() -> None:
    def zones(count: int, in_s: float | None = None) -> Candidate:
        return due(in_s)._replace(work=Work(count, count, 0.3 * count))

    assert batch_size([zones(3)] * 9, 16, 0, cost(0, 0)) == 5
    assert batch_size([zones(20), zones(1)], 16, 0, cost(0, 0)) == 1  # alone it goes, in parts
    assert batch_size([zones(3, 1.0)] * 9, 64, 0, cost(0.1, 0.1)) == 3
    assert batch_size([zones(3, 0.45)] * 9, 64, 0, cost(0.1, 0.1), lambda _: 7.9) == 2
    watched = Load()
    for number in range(4):  # 2 pictures each: as 8 cameras with one
        watched.saw(f"c{number}", zones(2), SECOND, 0)
    assert watched.needed(0, 0, cost(0.2, 0.05)) == pytest.approx(3.14, abs=0.01)


candidates = st.lists(
    st.builds(due, st.none() | st.floats(-1, 3, allow_nan=False), st.integers(0, 2), st.integers(0, 5)),
    max_size=12,
)


@given(candidates, st.integers(1, 8), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.2))
def test_no_batch_makes_late_what_could_have_been_in_time(
    offered: list[Candidate], limit: int, fixed_s: float, frame_s: float, prompt_s: float
) -> None:
    offered.sort(key=lambda candidate: -candidate.priority)
    price = cost(fixed_s, frame_s, prompt_s)
    size = batch_size(offered, limit, 0, price)
    assert size >= min(1, len(offered))
    taken = [candidate for candidate in offered[:size] if candidate.work.prompts]
    assert len(taken) <= limit
    took_ns = price(together(taken))
    for candidate in taken:
        if candidate.deadline_ns is not None and price(candidate.work) <= candidate.deadline_ns:
            assert took_ns <= candidate.deadline_ns
    if len(taken) < limit and size < len(offered):  # and it is not smaller than it must be
        more = price(together([*taken, offered[size]]))
        bounds = [c.deadline_ns for c in (*taken, offered[size]) if c.deadline_ns is not None]
        assert bounds
        assert more > min(bounds)


# Load


def load(*cameras: tuple[float, int]) -> Load:
    """Cameras by (every in seconds, priority), all seen at time 0."""
    found = Load()
    for number, (every_s, priority) in enumerate(cameras):
        found.saw(f"c{number}", due(1, priority), round(every_s * SECOND), 0)
    return found


def test_the_size_that_keeps_up_is_known_from_the_rates_and_the_cost() -> None:
    eight = load(*[(1.0, 0)] * 8)
    # 8.8 frames/s at 0.2 s + n × 0.05 s: n = 8.8 × (0.2 + 0.05 n)
    assert eight.needed(0, 0, cost(0.2, 0.05)) == pytest.approx(3.14, abs=0.01)
    assert eight.needed(0, 0, cost(0.0, 0.1)) == 0  # a batch gains nothing
    assert eight.needed(0, 0, cost(0.2, 0.2)) == pytest.approx(4)  # nothing keeps up: as much as pays
    assert eight.needed(0, 0, cost(0.2, 0.0)) == pytest.approx(1.76)
    assert eight.needed(0, 0, cost(0.2, 0.0, 0.05)) == pytest.approx(3.14, abs=0.01)
    assert Load().needed(0, 0, cost(1, 1)) == 0


def test_lower_priorities_and_sources_long_gone_are_no_load() -> None:
    mixed, price = load((0.5, 1), (1.0, 0), (1.0, 0)), cost(0.1, 0.0)
    assert mixed.needed(1, 0, price) == pytest.approx(0.22)
    assert mixed.needed(0, 0, price) == pytest.approx(0.44)
    mixed.saw("c1", due(1), SECOND, 100 * SECOND)
    assert mixed.needed(0, 100 * SECOND, price) == pytest.approx(0.11)


# Costs


def learned(parts: tuple[float, float, float], sizes: list[tuple[int, int]], chance: random.Random) -> Costs:
    (fixed, frame, prompt), costs = parts, Costs()
    for frames, prompts in sizes:
        took = (fixed + frames * frame + prompts * prompt) * (1 + chance.uniform(-0.02, 0.02))
        costs.observe(Work(frames, prompts, 0.3 * frames), took)
    return costs


@given(st.floats(0, 1e9), st.floats(1e5, 1e9), st.floats(0, 1e7), st.integers(0, 1000))
def test_costs_are_learned_from_batches_of_many_sizes(
    fixed: float, frame: float, prompt: float, seed: int
) -> None:
    chance = random.Random(seed)
    sizes = [(n, n * chance.randint(1, 4)) for n in (chance.randint(1, 8) for _ in range(40))]
    costs = learned((fixed, frame, prompt), sizes, chance)
    for frames, prompts in ((1, 1), (4, 8), (8, 32)):
        true = fixed + frames * frame + prompts * prompt
        assert costs.predict(Work(frames, prompts, 0.3 * frames)) == pytest.approx(true, rel=0.15)


def test_large_pictures_and_small_ones_are_told_apart() -> None:
    costs, chance = Costs(), random.Random(2)
    for _ in range(40):
        small, large = chance.randint(0, 4), chance.randint(0, 4)
        if small + large:
            work = Work(small + large, 2 * (small + large), 0.23 * small + 1.0 * large)
            costs.observe(work, (0.1 + small * 0.2 + large * 0.6) * SECOND * chance.uniform(0.98, 1.02))
    for small, large in ((1, 0), (0, 1), (4, 0), (0, 4)):
        work = Work(small + large, 2 * (small + large), 0.23 * small + 1.0 * large)
        assert costs.predict(work) == pytest.approx((0.1 + small * 0.2 + large * 0.6) * SECOND, rel=0.1)


def test_outliers_do_not_count() -> None:
    costs, chance = Costs(), random.Random(1)
    costs.observe(Work(8, 8, 0), 60e9)  # the first batch compiles
    for n in range(40):
        frames = chance.randint(1, 8)
        hiccup = 10 if n % 9 == 4 else 1
        costs.observe(Work(frames, frames, 0), (1e8 + frames * 5e7) * hiccup)
    assert costs.predict(Work(4, 4, 0)) == pytest.approx(3e8, rel=0.1)
    assert costs.predict(Work(1, 1, 0)) == pytest.approx(1.5e8, rel=0.15)


def test_a_machine_that_becomes_slower_is_noticed() -> None:
    costs = Costs()
    for factor in (1, 3):
        for n in range(30):
            frames = 1 + n % 6
            costs.observe(Work(frames, frames, 0), factor * (1e8 + frames * 5e7))
    assert costs.predict(Work(4, 4, 0)) == pytest.approx(9e8, rel=0.1)


def test_where_all_batches_are_alike_half_is_taken_for_fixed() -> None:
    costs = Costs()
    for _ in range(20):
        costs.observe(Work(1, 3, 0), 1e9)
    assert costs.predict(Work(1, 3, 0)) == pytest.approx(1e9, rel=0.01)
    assert costs.predict(NOTHING) == pytest.approx(5e8, rel=0.05)
    assert costs.predict(Work(2, 6, 0)) == pytest.approx(1.5e9, rel=0.05)


def test_nothing_is_known_at_first_and_nothing_is_negative() -> None:
    costs = Costs()
    assert costs.predict(Work(8, 8, 0)) == 0
    for frames, took in ((1, 9e8), (2, 5e8), (8, 1e8)):
        costs.observe(Work(frames, frames, 0), took)
    assert 0 <= costs.predict(NOTHING) <= costs.predict(Work(1, 1, 0)) <= costs.predict(Work(8, 64, 0))


# Room


def test_memory_that_ran_out_is_remembered_for_a_while() -> None:
    room = Room(16)
    room.shrink(4)
    assert room.limit == 4
    for _ in range(15):
        room.held()
    assert room.limit == 4
    room.held()
    assert room.limit == 5
    room.shrink(9)  # it does not grow by running out again
    assert room.limit == 5
    for _ in range(16 * 20):
        room.held()
    assert room.limit == 16
    room.shrink(0)
    assert room.limit == 1
    with pytest.raises(ValueError, match="at least 1"):
        Room(0)
