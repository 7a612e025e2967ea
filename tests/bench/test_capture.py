import json
from pathlib import Path

import pytest

from streamqa.bench.capture import Settings, markdown, measure
from streamqa.bench.capture_clips import RECORDED
from streamqa.errors import ConfigError


@pytest.mark.parametrize("wrong", [{"rounds": 0}, {"seconds": 1.0}, {"parts": ()}, {"parts": ("nothing",)}])
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="bench capture"):
        Settings(**wrong)  # type: ignore[arg-type]  # of mixed types on purpose


def test_a_small_run_has_every_figure_and_a_table(tmp_path: Path) -> None:
    settings = Settings(("recorded",), 2.0, 1, tmp_path / "clips", (160, 96))
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
