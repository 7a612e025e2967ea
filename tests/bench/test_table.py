import json
from pathlib import Path
from typing import Any

import pytest

from streamqa.bench.table import BEGIN, END, committed, markdown, read, result_name
from streamqa.errors import ConfigError

README = Path(__file__).parents[2] / "README.md"
RESULT: dict[str, Any] = {
    "machine": {
        "processor": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
        "device": "cpu",
        "cores": 2,
        "threads": 2,
        "torch": "2.13.0",
        "size": "full",
        "measured_at": "2026-11-24T23:00:00Z",
        "rounds": 5,
    },
    "rows": [
        {
            "kind": "exact",
            "crops": 1,
            "questions": 4,
            "answer_tokens": tokens,
            "frames_in_flight": 1,
            "draft_acceptance": 1.0 if tokens else 0.0,
            "dtype": "bf16",
            "frames_per_s": 0.25,
            "answers_per_s": 1.0,
            "p50_ms": 4000.4,
            "p95_ms": 4200.0,
            "tflops": 0.6789,
            "percent_of_ceiling": 76.2,
            "percent_of_ceiling_linear": 70.1,
            "baseline_ratio": 7.25,
            "noisy": not tokens,
        }
        for tokens in (3, 0)
    ],
    "slope": [
        {
            "questions": [1, 16],
            "crops": 1,
            "answer_tokens": 3,
            "draft_acceptance": 1.0,
            "frames_in_flight": 1,
            "percent_of_a_frame": 2.54,
        }
    ],
    "equivalence": [
        {
            "dtype": "bf16",
            "crops": 1,
            "tokens": 64,
            "flips": 2,
            "flip_margins": [0.1, 0.125],
            "median_margin": 0.88,
        }
    ],
}


def test_a_result_becomes_a_table() -> None:
    lines = markdown([RESULT]).splitlines()
    assert "Xeon" in lines[0]
    assert "2 cores" in lines[0]
    assert "5 rounds" in lines[0]
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert "| 1 | 4 | 3 | 1 | 100% | 0.25 | 1 | 4000, 4200 | 0.679 | 76 (70) | 7.2 |" in lines
    assert "| 1 (noisy) | 4 | scored | 1 | – |" in lines[5]
    assert "2.5 % of a frame with 1 (1 to 16 questions, 1 crop, 3 answer tokens" in lines[-2]
    assert "2 of 64 tokens are not the baseline's, decided by up to 0.125" in lines[-1]
    assert len(markdown([RESULT, RESULT]).split("\n\n| Crops")) == 3


def test_an_approximate_row_stands_beside_what_it_changes() -> None:
    quality = {
        "answers": 4,
        "changed": 1,
        "max_score_moved": 0.25,
        "note": "unvalidated without weights",
    }
    row = RESULT["rows"][1] | {"kind": "detail-fast", "crops": 9, "quality": quality}
    shown = markdown([RESULT | {"rows": [row], "slope": [], "equivalence": []}])
    assert "| 9 (detail-fast, noisy) |" in shown
    assert "1 of 4 answers changed, scores moved by up to 0.250; unvalidated" in shown


def test_results_are_named_by_date_and_machine() -> None:
    assert result_name(RESULT) == "engine-2026-11-24-intel-xeon-platinum-8481c-2-cores.json"
    gpu = {"machine": RESULT["machine"] | {"device": "NVIDIA H200"}}
    assert result_name(gpu) == "engine-2026-11-24-nvidia-h200-2-cores.json"


def test_files_are_read_or_refused(tmp_path: Path) -> None:
    good, bad, other = tmp_path / "good.json", tmp_path / "bad.json", tmp_path / "other.json"
    good.write_text(json.dumps(RESULT))
    bad.write_text("{")
    other.write_text('{"machine": {}}')
    assert read([good]) == [RESULT]
    for path in (bad, other, tmp_path / "none.json"):
        with pytest.raises(ConfigError, match="not a result"):
            read([path])


def test_the_readme_shows_the_committed_results() -> None:
    results = committed()
    text = README.read_text(encoding="utf-8")
    if not results:
        assert BEGIN not in text, "a table in the README, and no result that it comes from"
        return
    assert text.count(BEGIN) == text.count(END) == 1, f"the README needs {BEGIN} … {END}"
    shown = text.split(BEGIN)[1].split(END)[0].strip()
    assert shown == markdown(read(results)), "streamqa bench table > the README's table"
