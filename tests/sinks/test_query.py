from streamqa.sinks.query import EVERYTHING, Query


def test_everything_asks_for_nothing() -> None:
    assert EVERYTHING.condition() == ("1", [])


def test_each_filter_binds_its_names() -> None:
    condition, arguments = Query(sources=("gate", "desk"), types=("answer",)).condition()
    assert condition.count("?") == len(arguments) == 3
    assert arguments == ["gate", "desk", "answer"]
    assert "gate" not in condition
