from collections.abc import Sequence

from streamqa.sinks.base import Logged, Sink


class Kept:
    """The smallest sink there is."""

    def __init__(self) -> None:
        self.records: list[Logged] = []

    def write(self, records: Sequence[Logged]) -> None:
        self.records += records

    def close(self) -> None:
        pass


def test_a_sink_needs_no_more_than_two_methods() -> None:
    kept = Kept()
    sink: Sink = kept
    sink.write([Logged(1, {"type": "answer", "seq": 1})])
    sink.close()
    assert [record.seq for record in kept.records] == [1]
