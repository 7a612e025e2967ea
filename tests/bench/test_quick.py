import pytest

from streamqa.bench import quick
from streamqa.errors import StreamQAError


def test_the_machine_is_named() -> None:
    where = quick.machine()
    assert where.processor
    assert where.cores >= 1
    assert where.python.count(".") == 2


def test_help_is_timed_by_running_it() -> None:
    took_s, printed = quick._run("--help")
    assert 0 < took_s < 60
    assert "ask" in printed


def test_a_command_that_fails_is_no_figure() -> None:
    with pytest.raises(StreamQAError, match="ended with 2"):
        quick._run("run", "none.yaml")


def test_the_best_round_counts_and_all_are_kept() -> None:
    values = iter([3.0, 1.0, 2.0])
    figure = quick._figure("x", "s", "streamqa x", 3, min, lambda: next(values))
    assert (figure.value, figure.rounds) == (1.0, (3.0, 1.0, 2.0))
    assert quick.report([figure], quick.machine())["figures"][0]["value"] == 1.0


def test_the_questions_make_a_configuration() -> None:
    from streamqa.config import parse_config

    assert len(parse_config(quick._config("500ms")).standing()) == 5


def test_only_frames_with_every_answer_count_towards_the_rate() -> None:
    def answers(times: list[float], count: int) -> list[dict[str, float]]:
        return [{"t_s": t_s} for t_s in times for _ in range(count)]

    assert quick.answered_hz(answers([0.0, 0.5, 1.0, 1.5], 5)) == 2.0
    assert quick.answered_hz(answers([0.0, 1.0, 2.0], 5) + answers([0.5, 1.5], 3)) == 1.0
    assert quick.answered_hz(answers([0.0], 5)) == 0.0


@pytest.mark.slow
def test_everything_is_measured() -> None:
    figures = quick.measure(rounds=1, live_s=3.0)
    assert [figure.value > 0 for figure in figures] == [True] * 4
