import pytest

from streamqa.bench.growth import (
    Settings,
    cost_between,
    measure,
    memory_figures,
)
from streamqa.bench.line import Mark
from streamqa.errors import ConfigError


def test_a_frame_s_cost_is_taken_between_marks() -> None:
    first, last = Mark(10**9, 100, 1.0, 0, 0), Mark(3 * 10**9, 300, 2.0, 0, 0)
    assert cost_between(first, last) == (5.0, 10.0)


def run(bytes_per_frame: float, objects_per_frame: float, once: int = 0) -> list[Mark]:
    return [
        Mark(
            n,
            n,
            0.0,
            round(10**8 + bytes_per_frame * n + (once if n > 7000 else 0)),
            round(10**5 + objects_per_frame * n),
        )
        for n in range(0, 10_001, 100)
    ]


def growth(marks: list[Mark]) -> dict[str, tuple[float, bool | None]]:
    return {
        figure.unit: (figure.value, figure.reached)
        for figure in memory_figures(marks)
        if figure.name == "memory: typical growth over the second half"
    }


def test_memory_that_grows_with_every_frame_is_found() -> None:
    found = growth(run(18_000.0, 4.0))
    assert found["bytes/frame"] == (pytest.approx(18_000), False)
    assert found["objects/frame"] == (pytest.approx(4), False)


def test_memory_that_is_taken_once_is_no_growth() -> None:
    found = growth(run(0.0, 0.0, once=50_000_000))
    assert found["bytes/frame"] == (pytest.approx(0), True)
    assert found["objects/frame"] == (pytest.approx(0), True)


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"frames": 4}, {"questions": (4, 4)}, {"cameras": (3,)}])
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="bench growth"):
        Settings(**wrong)  # type: ignore[arg-type]  # of mixed types on purpose


def test_a_small_run_has_every_figure() -> None:
    # One transaction may hold 256 records, so fewer frames could all be noted in one mark.
    settings = Settings(
        questions=(1, 2), cameras=(1, 2), frames=600, long_run=400, long_cameras=2, model="", rounds=1
    )
    result = measure(settings, lambda _: None)
    figures = {row["name"]: row["value"] for row in result["figures"]}
    for what in ("1 question", "2 questions", "1 camera", "2 cameras"):
        assert figures[f"line: CPU per frame, {what}"] > 0
        assert figures[f"line: wall per frame, {what}"] > 0
    assert "line: CPU per frame and added question" in figures
    assert "line: CPU per frame and added camera" in figures
    assert result["memory"][-1]["frames"] == 400
    assert figures["memory: at the end"] * 2**20 == pytest.approx(result["memory"][-1]["rss_bytes"], rel=1e-3)


def test_the_embedded_model_is_asked_1_to_16_questions() -> None:
    from streamqa.bench.growth import _model_figures

    figures = _model_figures(Settings(rounds=1), lambda _: None)
    assert [figure.name for figure in figures[:-1]] == [
        f"tiny: frame with {n} questions" for n in (1, 2, 4, 8, 16)
    ]
    assert all(figure.value > 0 for figure in figures[:-1])
    assert str(figures[-1].target) == "<= 3"
