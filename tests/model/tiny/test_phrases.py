import itertools

from streamqa.model.tiny import phrases
from streamqa.model.tiny.phrases import Clauses, Split


def _all() -> list[tuple[str, Split | Clauses]]:
    values = [
        (name, part)
        for name, value in vars(phrases).items()
        for part in (value.values() if isinstance(value, dict) else [value])
    ]
    return [(name, part) for name, part in values if isinstance(part, Split | Clauses)]


def test_there_are_many_wordings() -> None:
    lists = _all()
    assert len(lists) > 20
    assert len(phrases.YES_NO.train) * len(phrases.THERE.train) > 1000
    assert len(phrases.OPEN.train) * len(phrases.COUNT.train) > 400


def test_held_out_wordings_are_never_trained() -> None:
    for name, split in _all():
        assert not set(split.train) & set(split.heldout), name
        assert split.heldout or not split.train or name == "OPEN", name


def test_no_wording_twice_among_the_held_out() -> None:
    for name, split in _all():
        assert len(set(split.heldout)) == len(split.heldout), name


def test_frames_have_exactly_one_place() -> None:
    for frame in itertools.chain(phrases.YES_NO.train, phrases.YES_NO.heldout):
        assert ("{q}" in frame) != ("{s}" in frame), frame
    for frame in itertools.chain(phrases.OPEN.train, phrases.OPEN.heldout):
        assert sum(place in frame for place in ("{q}", "{s}", "{n}")) == 1, frame
