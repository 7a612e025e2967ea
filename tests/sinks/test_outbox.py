import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.sinks.outbox import Limits, Message, Outbox, Rank


def state(topic: str, payload: str, **fields: bool) -> Message:
    return Message(topic, payload, Rank.STATE, **fields)


def event(payload: str) -> Message:
    return Message("alerts", payload, Rank.EVENT)


def payloads(outbox: Outbox) -> list[str]:
    return [str(message.payload) for message in outbox.take()]


def test_of_a_retained_topic_the_newest_wins() -> None:
    outbox = Outbox()
    outbox.put([state("a", "1"), state("b", "1"), state("a", "2")])
    assert outbox.counts().due == 2
    assert [(m.topic, m.payload) for m in outbox.take()] == [("a", "2"), ("b", "1")]
    assert outbox.counts().replaced == 1
    assert outbox.take() == []


def test_events_all_count_up_to_the_bound() -> None:
    outbox = Outbox(Limits(events=3))
    outbox.put([event(str(n)) for n in range(5)])
    assert payloads(outbox) == ["2", "3", "4"]
    assert outbox.counts().dropped == 2


def test_a_topic_too_many_is_dropped() -> None:
    outbox = Outbox(Limits(topics=2))
    outbox.put([state("a", "1"), state("b", "1"), state("c", "1"), state("a", "2")])
    assert payloads(outbox) == ["2", "1"]
    assert outbox.counts().dropped == 1


def test_what_matters_most_goes_first() -> None:
    outbox = Outbox()
    outbox.put(
        [
            event("event"),
            *(Message(rank.name, rank.name, rank) for rank in reversed(Rank) if rank != Rank.EVENT),
        ]
    )
    assert [message.rank for message in outbox.take()] == list(Rank)


def test_all_that_is_retained_can_be_said_again() -> None:
    outbox = Outbox()
    outbox.put([state("a", "1"), state("b", "2"), event("once")])
    outbox.take()
    outbox.again()
    assert payloads(outbox) == ["1", "2"]


def test_what_stands_is_said_again_and_where_nothing_does_the_other() -> None:
    outbox = Outbox()
    outbox.put([state("a", "1"), state("a", "None", stands=True), state("b", "None", stands=True)])
    assert payloads(outbox) == ["1", "None"]
    assert outbox.counts().replaced == 0
    outbox.put([state("a", "None", stands=True)])
    assert payloads(outbox) == ["1"]


def test_what_is_no_more_is_cleared_once() -> None:
    outbox = Outbox()
    outbox.put([state("a", "1"), state("b", "1")])
    outbox.take()
    outbox.clear_others(frozenset({"b"}))
    assert [(m.topic, m.payload) for m in outbox.take()] == [("a", "")]
    outbox.again()
    assert payloads(outbox) == ["1"]


def test_what_was_cleared_does_not_stand() -> None:
    outbox = Outbox()
    outbox.put([state("a", "1")])
    outbox.clear_others(frozenset())
    outbox.put([state("a", "None", stands=True)])
    assert payloads(outbox) == ["None"]


def test_what_could_not_be_sent_is_due_again_unless_newer_came() -> None:
    outbox = Outbox(Limits(events=3))
    outbox.put([state("a", "1"), state("b", "1"), event("1"), event("2")])
    taken = outbox.take()
    outbox.put([state("a", "2"), event("3"), event("4")])
    outbox.give_back(taken)
    assert payloads(outbox) == ["2", "1", "2", "3", "4"]
    assert outbox.counts().dropped == 1


def test_a_clearing_that_could_not_be_sent_is_not_forgotten() -> None:
    outbox = Outbox()
    outbox.put([state("a", "1")])
    outbox.clear_others(frozenset())
    outbox.give_back(outbox.take())
    assert payloads(outbox) == [""]


def test_there_must_be_room() -> None:
    with pytest.raises(ValueError, match="needs room"):
        Limits(topics=0)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans(), st.booleans()), max_size=40)
)
def test_in_the_end_the_broker_knows_the_newest_whatever_breaks(
    steps: list[tuple[str, int, bool, bool]],
) -> None:
    """Each step puts one; what is due is taken, and sent or given back; and the broker may lose all it had."""
    outbox, retained, expected = Outbox(), dict[str, str](), dict[str, str]()
    for topic, value, is_sent, is_lost in steps:
        expected[topic] = str(value)
        outbox.put([state(topic, str(value))])
        taken = outbox.take()
        if is_sent:
            retained |= {message.topic: str(message.payload) for message in taken}
        else:
            outbox.give_back(taken)
        if is_lost:
            retained.clear()
            outbox.again()
    retained |= {message.topic: str(message.payload) for message in outbox.take()}
    assert retained == expected
