from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from streamqa.metrics import Metrics


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
    assert set(shown) == {f"streamqa_{name}" for name in families(metrics)}
    assert all(family.documentation for family in shown.values())


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
    for name, metric in families(metrics).items():
        labels = {label: "gate" if label == "source" else "other" for label in metric._labelnames}
        for one in (labels, labels | {"source": "desk"} if "source" in labels else labels):
            child = metric.labels(**one) if labels else metric
            (
                child.observe
                if name.endswith("seconds")
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
