import re
from pathlib import Path

from prometheus_client import Histogram, Info, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from streamqa.metrics import Metrics

BOUNDED = {"source", "question", "state", "cause", "why", "outcome", "method", "route", "status"} | {
    "severity",
    "phase",
    "sink",
}


def families(metrics: Metrics) -> dict[str, MetricWrapperBase]:
    return {name: m for name, m in vars(metrics).items() if isinstance(m, MetricWrapperBase)}


def test_every_pipeline_counts_for_itself() -> None:
    one, two = Metrics(), Metrics()
    one.model_errors.inc()
    assert one.registry.get_sample_value("streamqa_model_errors_total") == 1
    assert two.registry.get_sample_value("streamqa_model_errors_total") == 0


def test_names_on_the_page_are_those_in_the_code() -> None:
    metrics = Metrics()
    shown = {family.name: family for family in metrics.registry.collect()}
    ours = {name for name in shown if name.startswith("streamqa_")}
    assert ours == {f"streamqa_{name}" for name in families(metrics)}
    assert {name.partition("_")[0] for name in shown} == {"streamqa", "process", "python"}
    assert all(len(shown[name].documentation.split()) > 1 for name in ours)


def test_names_end_in_their_unit_and_only_what_is_bounded_is_a_label() -> None:
    for name, metric in families(Metrics()).items():
        if isinstance(metric, Histogram):
            assert name.endswith(("_seconds", "_pictures")), name
        if "seconds" in name or "bytes" in name:
            assert name.endswith(("_seconds", "_bytes")), name
        assert set(metric._labelnames) <= BOUNDED, name


def test_every_metric_is_moved_by_some_code_and_looked_at_by_some_test() -> None:
    root = Path(__file__).parent.parent
    code = "".join(p.read_text() for p in (root / "streamqa").rglob("*.py") if p.name != "metrics.py")
    tests = "".join(p.read_text() for p in (root / "tests").rglob("test_*.py"))
    names = families(Metrics()).keys() - {"build"}  # it stands still
    assert [name for name in names if f"metrics.{name}" not in code] == []
    assert [
        name for name in names if not re.search(rf"\b(streamqa_)?{name}(_total|_count|_sum)?\b", tests)
    ] == []


def test_the_page() -> None:
    metrics = Metrics()
    metrics.answers.labels("gate", "person", "ok").inc()
    metrics.ticks_skipped.labels("gate", "person").inc(3)
    metrics.source_live.labels("gate").set(1)
    metrics.frame_to_answer_seconds.observe(0.2)
    page = generate_latest(metrics.registry).decode()
    assert 'streamqa_answers_total{question="person",source="gate",state="ok"} 1.0' in page
    assert 'streamqa_ticks_skipped_total{question="person",source="gate"} 3.0' in page
    assert 'streamqa_source_live{source="gate"} 1.0' in page
    assert 'streamqa_frame_to_answer_seconds_bucket{le="0.25"} 1.0' in page
    assert 'streamqa_frame_to_answer_seconds_bucket{le="0.1"} 0.0' in page


def test_what_was_counted_for_a_source_can_be_forgotten() -> None:
    metrics = Metrics()
    for metric in families(metrics).values():
        if isinstance(metric, Info):
            continue
        labels = {label: "gate" if label == "source" else "other" for label in metric._labelnames}
        for one in (labels, labels | {"source": "desk"} if "source" in labels else labels):
            child = metric.labels(**one) if labels else metric
            (
                child.observe
                if hasattr(child, "observe")
                else child.set
                if hasattr(child, "set")
                else child.inc
            )(1)
    metrics.forget("gate")
    metrics.forget("nobody")
    page = generate_latest(metrics.registry).decode()
    assert 'source="gate"' not in page
    assert 'streamqa_answers_total{question="other",source="desk",state="other"} 1.0' in page
    assert 'streamqa_batches_halved_total{cause="other"}' in page
