from streamqa.bench.log_rate import an_answer, measure
from streamqa.payload import record_payload
from streamqa.sinks.log import to_json


def test_what_is_measured_is_there() -> None:
    found = measure(count=200, large=1200)
    assert found["records_read"] == 1200
    assert found["answers_per_s"] > 0
    assert 0 < found["append_p50_ms"] <= found["append_p99_ms"]


def test_its_answers_are_like_a_cameras() -> None:
    assert 600 < len(to_json(record_payload(an_answer(7)))) < 1000
