from datetime import UTC, datetime

from streamqa.payload import record_payload
from streamqa.records import Change, Lost

AT = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)


def test_what_is_lost_to_a_full_disk_becomes_a_gap_of_the_wire() -> None:
    assert record_payload(Lost(7, "log_full", AT)) == {
        "type": "gap", "from": None, "to": None, "count": 7, "reason": "log_full",
        "at": "2026-11-25T06:00:00.000Z",
    }  # fmt: skip


def test_a_change_names_who_made_it() -> None:
    change = Change("question", "cars", "added", "desk", AT, {"ask": "How many cars?"})
    assert record_payload(change) == {
        "type": "change", "what": "question", "id": "cars", "action": "added", "by": "desk",
        "settings": {"ask": "How many cars?"}, "at": "2026-11-25T06:00:00.000Z",
    }  # fmt: skip
