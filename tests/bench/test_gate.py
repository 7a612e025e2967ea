from pathlib import Path

import pytest

from streamqa.bench.gate import Run, Settings, gate_figures, measure
from streamqa.errors import ConfigError

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
TRUE, FALSE = (True, "ok"), (False, "ok")


def test_what_is_wrong_is_counted_among_what_was_reused() -> None:
    places = [("q", float(n)) for n in range(4)]
    plain = Run(dict(zip(places, (TRUE, TRUE, FALSE, FALSE), strict=True)), frozenset(), 0, 0, 6.0)
    # The last one differs too, but it was asked: that is the model's doing, not the gate's.
    said = dict(zip(places, (TRUE, TRUE, TRUE, TRUE), strict=True))
    gated = Run(said, frozenset(places[1:3]), 8, 2, 3.0)
    reused, changed, audits, faster = gate_figures(0.02, [(plain, gated)])
    assert (reused.value, changed.value, audits.value, faster.value) == (50, 25, 25, 2)
    assert audits.name == "gate 0.02: audits that disagreed, of 8"


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"thresholds": ()}, {"thresholds": (0.0,)}, {"thresholds": (2.0,)}]
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="bench gate"):
        Settings(**wrong)  # type: ignore[arg-type]  # of mixed types on purpose


def test_a_small_run_has_every_figure() -> None:
    told: list[str] = []
    result = measure(Settings(thresholds=(1.0,), seconds=3.0, rounds=1), DEMO, told.append)
    values = {row["name"]: row["value"] for row in result["figures"]}
    # No picture changes by more than all of it: only the first of six frames and the audits are asked.
    assert 50 < values["gate 1: readings reused"] < 100 * 5.5 / 6
    assert 0 <= values["gate 1: readings that asking would have changed"] <= 100
    assert values["gate 1: times as fast"] > 0
    assert len(told) == 1
