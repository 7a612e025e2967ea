import json

from streamqa.bench.fanout_rows import BASELINE, Run, markdown, rows


def run(rate: float, p99: float | None = 5.0, lost: int = 0) -> Run:
    return Run(rate, 2.0, p99, lost, 16.0)


def test_ratios_are_of_the_same_round() -> None:
    rounds = [
        {"streamqa": run(150), BASELINE: run(100)},
        {"streamqa": run(60, 9.0, 1), BASELINE: run(50)},
        {"streamqa": run(130), BASELINE: run(100)},
    ]
    ours, base = rows(200, 50.0, rounds)
    assert (ours.name, ours.deliveries_per_cpu_s, ours.ratio, ours.lost, ours.p99_ms) == (
        "streamqa",
        130,
        1.3,
        1,
        5.0,
    )
    assert (base.ratio, base.lost) == (1.0, 0)


def test_a_row_without_a_time_is_one() -> None:
    (only,) = rows(5, 1.0, [{BASELINE: run(100, None)}])
    assert only.p99_ms is None
    result = {"rows": [only.as_dict() | {"p50_ms": None}], "figures": [], "not_run": [
        {"name": "steady", "subscribers": 9, "why": "too many open files"}]}  # fmt: skip
    json.dumps(result)
    text = markdown(result)
    assert "| 5, 1 | websockets.broadcast | 100 | 1.00 | – | 0 | 16.0 |" in text
    assert "steady at 9: not run, too many open files" in text
