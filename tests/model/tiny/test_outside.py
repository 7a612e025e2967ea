from streamqa.model.tiny import outside, phrases


def test_held_out_nouns_topics_and_traits_are_never_trained() -> None:
    for split in (outside.NOUNS, outside.TRAITS):
        assert split.heldout
        assert not set(split.train) & set(split.heldout)
    for clauses in (outside.OPEN, outside.YES_NO):
        assert clauses.heldout
        assert not set(clauses.train) & set(clauses.heldout)
    assert not set(outside.traits(False)) & set(outside.traits(True))


def test_the_world_has_none_of_the_outside_nouns() -> None:
    inside = {word for pairs in phrases.NOUNS.values() for pair in pairs for word in pair}
    for noun in (*outside.NOUNS.train, *outside.NOUNS.heldout):
        assert f"a {noun}" not in inside
        assert f"an {noun}" not in inside


def test_colours_of_people_and_cars_are_not_outside() -> None:
    nouns = {noun for _, noun in outside.traits(False)}
    assert "the colour of the gate" in nouns
    assert "the colour of the car" not in nouns
