from pathlib import Path

import numpy as np
import pytest

from streamqa.bench.answers_window import (
    BANDS,
    FRAMES,
    Asked,
    Judged,
    figures,
    judge,
    markdown,
    measure,
    reading_of,
    row,
    with_heavy_noise,
    with_lost_band,
)
from streamqa.testing import ScriptedModel
from streamqa.types import NS_PER_S, Reading

GROUP = "yes, no or a choice"


def yes(probability: float) -> Reading:
    value = probability > 0.5
    scores = (("yes", probability), ("no", 1 - probability))
    return Reading(value, max(probability, 1 - probability), "ok", scores=scores)


def asked(probabilities: list[float], truths: list[bool | None]) -> list[Asked]:
    return [
        Asked(n * NS_PER_S, "person", yes(p), t)
        for n, (p, t) in enumerate(zip(probabilities, truths, strict=True))
    ]


def test_a_window_is_judged_at_its_end_and_only_when_it_is_whole() -> None:
    found = list(judge(asked([0.9, 0.9, 0.1, 0.9, 0.9, 0.9], [True] * 6), NS_PER_S, "s"))
    assert len(found) == 2
    assert found[0].single == (False, False, True, False, False)
    assert found[0].window == {"mean": False, "majority": False}
    assert found[0].is_steady


def test_a_window_in_which_something_changes_is_late_and_its_newest_frame_is_not() -> None:
    (found,) = judge(asked([0.9, 0.9, 0.9, 0.9, 0.1], [True] * 4 + [False]), NS_PER_S, "s")
    assert found.single == (False,)
    assert found.window["majority"]
    assert not found.is_steady


def test_where_nobody_could_tell_nothing_is_judged() -> None:
    assert list(judge(asked([0.9] * 5, [True] * 4 + [None]), NS_PER_S, "s")) == []


def test_rows_compare_windows_with_single_frames() -> None:
    judged = [
        Judged(
            str(n), "yes_no", (n < 4, False, False, False, False), {"mean": False, "majority": n < 1}, True
        )
        for n in range(10)
    ]
    found = row(BANDS, GROUP, judged)
    assert (found["single"], found["mean"], found["majority"]) == (0.08, 0.0, 0.1)
    assert (found["mean_ratio"], found["majority_ratio"]) == (0.0, 1.25)
    reached = {figure.name: figure.reached for figure in figures([found])}
    assert reached[f"{BANDS}, {GROUP}: mean of {FRAMES} over a frame"] is True
    assert reached[f"{BANDS}, {GROUP}: majority of {FRAMES} over a frame"] is False
    assert "| 8.00 (" in markdown([found])[-1]
    clean = row(
        "starved clips",
        "numbers",
        [Judged("s", "number", (False,), {"mean": False, "majority": False}, True)],
    )
    assert clean["mean_ratio"] is None
    assert all(figure.target is None for figure in figures([clean]))
    assert markdown([clean])[-1].count("–") >= 2


@pytest.mark.parametrize("spoil", [with_lost_band, with_heavy_noise])
def test_noise_is_drawn_anew_for_every_frame(spoil: object) -> None:
    image = np.full((90, 160, 3), 100, np.uint8)
    rng = np.random.default_rng(1)
    frames = [spoil(image, rng).astype(int) for _ in range(3)]  # type: ignore[operator]  # one of two functions
    assert (image == 100).all()
    for one, other in ((0, 1), (1, 2)):
        off = (frames[one] - 100, frames[other] - 100)
        assert abs(np.corrcoef(off[0].ravel(), off[1].ravel())[0, 1]) < 0.35
    again = spoil(image, np.random.default_rng(1))  # type: ignore[operator]
    assert np.array_equal(again, frames[0])


def test_a_reading_comes_back_from_its_payload() -> None:
    said = {"value": 2, "confidence": 0.7, "state": "ok", "scores": {"2": 0.7, "3": 0.3}}
    reading = reading_of({"reading": said, "reason": None, "text": "2", "mass": 0.9})
    assert reading == Reading(2, 0.7, "ok", text="2", scores=(("2", 0.7), ("3", 0.3)), mass=0.9)


def test_a_small_run_goes_through_the_line(tmp_path: Path) -> None:
    model = ScriptedModel(lambda image, prompt: prompt.options[0].value)
    rows = measure(model, still=2, clips=1, clip_s=3.0, folder=tmp_path)
    kinds = {(found["material"], found["group"]) for found in rows}
    assert {(BANDS, GROUP), (BANDS, "numbers"), ("heavy noise", GROUP), ("starved clips", GROUP)} <= kinds
    for found in rows:  # a model that always says the same is wrong with and without windows alike
        if found["material"] == BANDS and found["group"] == GROUP:
            assert found["majority"] == pytest.approx(found["single"])
