import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.sinks.topics import BETWEEN, Command, Topics, escaped, from_word, unescaped, word

TOPICS = Topics()
# Whatever Python can hold, with what means something in a topic more often.
IDS = st.text(st.one_of(st.characters(), st.sampled_from("#+/%-_.$\0é 東\ud800")), max_size=64)
PREFIXES = st.from_regex(r"[A-Za-z0-9_.-]{1,8}(/[A-Za-z0-9_.-]{1,8}){0,2}", fullmatch=True)


def test_plain_ids_read_as_they_are() -> None:
    assert TOPICS.status == "streamqa/status"
    assert TOPICS.of_source("gate", "availability") == "streamqa/gate/availability"
    assert TOPICS.of_question("front-door.2", "is_open", "state") == "streamqa/front-door.2/is_open/state"
    assert TOPICS.device("gate_1") == "homeassistant/device/streamqa--gate_1/config"
    assert TOPICS.birth == "homeassistant/status"


def test_prefixes_are_the_users() -> None:
    topics = Topics("home/eyes", "ha")
    assert topics.of_source("gate", "set") == "home/eyes/gate/set"
    assert topics.device("gate") == "ha/device/home-2Feyes--gate/config"
    assert topics.command("home/eyes/gate/person/set") == Command("gate", "person")


@pytest.mark.parametrize(
    ("id", "level"),
    [("a#b", "a%23b"), ("a+b", "a%2Bb"), ("a/b", "a%2Fb"), ("a\0b", "a%00b"), ("tür", "t%C3%BCr"), ("", "%")],
)
def test_what_means_something_in_a_topic_is_escaped(id: str, level: str) -> None:
    assert escaped(id) == level
    assert unescaped(level) == id


@given(IDS)
def test_ids_come_back(id: str) -> None:
    assert unescaped(escaped(id)) == id
    assert from_word(word(id)) == id
    assert re.fullmatch(r"[A-Za-z0-9_.%-]+", escaped(id))
    assert re.fullmatch(r"[A-Za-z0-9_-]+", word(id))
    assert BETWEEN not in word(id)


@given(st.text(max_size=20))
def test_only_what_is_written_so_is_read(text: str) -> None:
    assert unescaped(text) is None or escaped(str(unescaped(text))) == text
    assert from_word(text) is None or word(str(from_word(text))) == text


@given(PREFIXES, PREFIXES, st.tuples(IDS, IDS), st.tuples(IDS, IDS))
def test_no_two_share_a_topic_or_a_device(
    prefix: str, other: str, one: tuple[str, str], two: tuple[str, str]
) -> None:
    mine, theirs = Topics(prefix), Topics(prefix)
    own = {theirs.of_question(*two, what) for what in ("state", "set")} | {theirs.of_source(two[0], "set")}
    if one != two:
        assert mine.of_question(*one, "state") not in own
    if one[0] != two[0]:
        assert mine.of_source(one[0], "set") not in own
    assert (mine.device(one[0]) == Topics(other).device(two[0])) == ((prefix, one[0]) == (other, two[0]))


@given(PREFIXES, IDS, IDS)
def test_commands_come_back(prefix: str, source: str, question: str) -> None:
    topics = Topics(prefix)
    assert topics.command(topics.of_source(source, "set")) == Command(source, None)
    assert topics.command(topics.of_question(source, question, "set")) == Command(source, question)
    assert topics.source_of(topics.device(source)) == source


@pytest.mark.parametrize(
    "topic",
    ["", "set", "streamqa/set", "streamqa//set", "other/gate/set", "streamqa/gate/state", "streamqa/a/b/c/set",
     "streamqa/%zz/set", "streamqa/gate/%2b/set", "streamqa/gate//set"],
)  # fmt: skip
def test_other_topics_are_no_commands(topic: str) -> None:
    assert TOPICS.command(topic) is None


@pytest.mark.parametrize(
    "topic",
    ["homeassistant/device/other--gate/config", "homeassistant/device/streamqa--/config", "homeassistant/status",
     "homeassistant/device/streamqa--a--b/config", "homeassistant/sensor/streamqa--gate/config"],
)  # fmt: skip
def test_devices_of_others_are_left_alone(topic: str) -> None:
    assert TOPICS.source_of(topic) is None
