import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamqa.model.moondream.buckets import First, Step, rounded, rounded_slots

SLOTS = 730  # rows of a picture


@given(st.integers(1, 5000), st.integers(1, 40), st.integers(0, 4))
def test_rounded_up_and_not_far(n: int, least: int, bits: int) -> None:
    size = rounded(n, least=least, bits=bits)
    assert size >= max(n, least)
    assert size <= max(n, least) * (1 + 2**-bits)
    assert rounded(size, least=least, bits=bits) == size
    assert rounded(n + 1, least=least, bits=bits) >= size


def test_few_sizes() -> None:
    assert [rounded(n, bits=3) for n in range(1, 17)] == list(range(1, 17))
    assert len({rounded(n, bits=3) for n in range(1, 65)}) == 32
    assert len({rounded(n, least=16, bits=2) for n in range(1, 4097)}) <= 4 * 8 + 1
    slots = [rounded_slots(n) for n in range(1, 1319)]
    assert len(set(slots)) <= 12
    assert all(a <= b for a, b in pairwise(slots))


sets = st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=8), min_size=1, max_size=40)


@given(sets)
def test_everything_has_its_place(prompts: list[list[int]]) -> None:
    images = [i for i, rows in enumerate(prompts) for _ in rows]
    counts = [n for rows in prompts for n in rows]
    size = First.fitting(counts, images, len(prompts))
    assert size.pictures >= len(prompts)
    assert size.sequences >= len(counts)
    assert size.rows >= sum(counts)
    assert size.longest >= max(counts)
    assert size.asked >= max(sum(rows) for rows in prompts)
    more = First.fitting([*counts, 3], [*images, images[-1]], len(prompts))
    assert (more.sequences, more.rows, more.asked) >= (size.sequences, size.rows, size.asked)
    step = Step.fitting(size.pictures, size.sequences, 3, max(counts) + 1)
    assert step.slots > max(counts)


def test_little_is_wasted_on_typical_sets() -> None:
    rng = random.Random(0)
    wasted = []
    for _ in range(300):
        pictures, questions = rng.randint(1, 64), rng.choice([1, 4, 16])
        counts = [rng.randint(10, 30) for _ in range(pictures * questions)]
        images = [n // questions for n in range(len(counts))]
        size = First.fitting(counts, images, pictures)
        wasted.append((size.pictures * SLOTS + size.rows) / (pictures * SLOTS + sum(counts)) - 1)
    assert max(wasted) <= 0.15
    assert sum(wasted) / len(wasted) <= 0.06
    assert sum(w <= 0.1 for w in wasted) >= 0.9 * len(wasted)


def test_the_same_questions_need_few_buckets() -> None:
    # Answers change their length from frame to frame, and with them the drafts.
    rng = random.Random(1)
    seen = set()
    for _ in range(500):
        counts = [15 + rng.randint(0, 5) for _ in range(4)] * 8
        seen.add(First.fitting(counts, [n // 4 for n in range(32)], 8))
    assert len(seen) <= 6
