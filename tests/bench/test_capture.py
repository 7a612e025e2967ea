import json
from pathlib import Path

import pytest

from streamqa.bench import capture, capture_live, capture_outage
from streamqa.bench.capture import PARTS, Settings, markdown, measure
from streamqa.bench.capture_clips import LIVE, RECORDED
from streamqa.bench.capture_live import Plan, Row, Run
from streamqa.bench.outage import Growth, Outage
from streamqa.errors import ConfigError


@pytest.mark.parametrize(
    "wrong", [{"rounds": 0}, {"seconds": 1.0}, {"parts": ()}, {"parts": ("nothing",)}, {"reconnects": -1}]
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="bench capture"):
        Settings(**wrong)  # type: ignore[arg-type]  # of mixed types on purpose


def test_a_small_run_has_every_figure_and_a_table(tmp_path: Path) -> None:
    settings = Settings(("recorded",), 2.0, 1, 1, 0, tmp_path / "clips", (160, 96))
    result = json.loads(json.dumps(measure(settings, lambda _: None)))
    figures = {row["name"]: row for row in result["figures"]}
    for kind in RECORDED:
        ratio = figures[f"recorded, {kind.label}: of the baseline's CPU"]
        assert ratio["value"] > 0
        assert (ratio["target"] is None) == (kind.share is None)
        assert figures[f"recorded, {kind.label}: pictures not exact"]["reached"]
    assert result["recorded"]["imports_cpu_s"] > 0
    lines = markdown(result).splitlines()
    assert "cores" in lines[0]
    assert "--part recorded" in lines[0]
    rows = [line for line in lines if line.startswith("| 1080p30")]
    assert len(rows) == len(RECORDED)
    assert all(row.endswith("| 2 of 2 |") for row in rows)
    assert len(list((tmp_path / "clips").iterdir())) == len(RECORDED)


def test_every_part_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outages = [Outage("killed", 0.1, "reconnecting", "", 1, 2.0)]
    monkeypatch.setattr(capture_outage, "measure", lambda *asked: (outages, Growth(asked[2], 9.0, 0, 0, 0)))
    for part in ("recorded", "live", "cameras"):
        monkeypatch.setitem(capture._MEASURES, part, lambda *_, name=part: ([], {"rows": [], "is": name}))
    result = measure(Settings(seconds=2.0, clips=tmp_path, size=(160, 96)), lambda _: None)
    assert [result[part]["is"] for part in PARTS[:3]] == ["recorded", "live", "cameras"]
    assert result["outages"]["growth"]["reconnects"] == 200
    assert {row["name"] for row in result["figures"]} >= {"200 reconnects: threads"}
    only = result | {"settings": result["settings"] | {"parts": ["outages"]}}
    for part in PARTS[:3]:
        only.pop(part)
    assert markdown(only).splitlines()[4] == "| camera killed: told after, at most | 0.1 s | <= 1 |"


def test_what_is_asked_of_cameras_and_how_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real cameras are in the test of `capture_live`."""
    plans: list[Plan] = []

    def seen(plan: Plan, _: object) -> Row:
        plans.append(plan)
        run = Run(2.0, plan.cameras * 0.1, 0.5, (20.0, 600.0), (1.0, 2.0), ("rtcp",), 0, ())
        return Row(plan.kind, plan.cameras, (run,), (0.5,))

    monkeypatch.setattr(capture_live, "measure", seen)
    settings = Settings(("live", "cameras"), 2.0, 1, 3, 0, tmp_path, (160, 96))
    result = json.loads(json.dumps(measure(settings, lambda _: None)))
    assert [(plan.kind.name, plan.cameras) for plan in plans] == [
        *((kind.name, 1) for kind in LIVE),
        ("live-720", 3),
    ]
    assert all(plan.clip.exists() and plan.seconds == 2 for plan in plans)
    figures = {row["name"]: row for row in result["figures"]}
    for kind in LIVE:
        ratio = figures[f"live, {kind.label}: of the baseline's CPU"]
        assert (ratio["value"], ratio["target"]) == (0.1, "<= 0.2")
    late = figures[f"3 cameras, {LIVE[1].label}: frames later than half a slide"]
    assert (late["value"], late["reached"]) == (1, False)
    assert markdown(result).splitlines()[-1] == (
        "| 3 × 720p30 H.264, GOP 30 | 0.10 | – | 0.15 | 0.25 | 310, 594, 600 | 1 of 2 | 0 |"
    )
