from collections.abc import Sequence

from streamqa.bench.rounds import Attempt, interleaved, settle


def attempt(first: int, *seconds: float) -> Attempt:
    return Attempt(tuple(range(first, first + len(seconds))), seconds)


CALM, NOISY, WORSE = (1.0, 1.0, 1.0), (1.0, 2.0, 3.0), (1.0, 3.0, 9.0)


class Script:
    """Attempts of each row, one after the other."""

    def __init__(self, **attempts: list[tuple[float, ...]]) -> None:
        self.left, self.asked = attempts, list[list[str]]()

    def __call__(self, keys: Sequence[str]) -> dict[str, Attempt]:
        self.asked.append(list(keys))
        return {key: attempt(3 * len(self.asked), *self.left[key].pop(0)) for key in keys}


def test_only_noisy_rows_are_measured_again_and_until_they_are_calm() -> None:
    script = Script(a=[CALM], b=[NOISY, WORSE, CALM])
    settled = settle(["a", "b"], script, lambda: True)
    assert script.asked == [["a", "b"], ["b"], ["b"]]
    assert (settled["a"].reruns, settled["b"].reruns) == (0, 2)
    assert settled["b"].attempt == attempt(9, *CALM)
    assert not settled["b"].attempt.noisy


def test_after_three_more_attempts_the_calmest_stands_as_noisy() -> None:
    script = Script(a=[WORSE, NOISY, WORSE, WORSE])
    settled = settle(["a"], script, lambda: True)
    assert len(script.asked) == 4
    assert settled["a"].attempt.seconds == NOISY
    assert settled["a"].attempt.noisy
    assert settled["a"].reruns == 3


def test_without_time_nothing_is_measured_again() -> None:
    script = Script(a=[NOISY])
    assert settle(["a"], script, lambda: False)["a"].reruns == 0


def test_rounds_go_forth_and_back() -> None:
    done: list[tuple[str, int]] = []

    def task(name: str, number: int) -> float:
        done.append((name, number))
        return number + 0.5

    said: list[str] = []
    tasks = {name: lambda number, name=name: task(name, number) for name in "ab"}
    assert interleaved(tasks, [0, 1, 2], said.append, lambda: False) == {
        "a": [0.5, 1.5, 2.5],
        "b": [0.5, 1.5, 2.5],
    }
    assert done == [("a", 0), ("b", 0), ("b", 1), ("a", 1), ("a", 2), ("b", 2)]
    assert said == ["round 1/3", "round 2/3", "round 3/3"]


def test_rounds_end_with_the_time_but_three_there_are() -> None:
    left = iter([True, False])
    found = interleaved({"a": float}, range(10), lambda _: None, lambda: next(left))
    assert found == {"a": [0.0, 1.0, 2.0, 3.0]}
