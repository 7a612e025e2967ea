from streamqa.yaml_nodes import parse


def test_yes_and_no_stay_texts_and_true_is_a_boolean() -> None:
    document = parse("a: yes\nb: No\nc: on\nd: true\ne: 12\nf: [off, 1.5, null]\n")
    assert document.data == {"a": "yes", "b": "No", "c": "on", "d": True, "e": 12, "f": ["off", 1.5, None]}
    assert document.problems == []


def test_every_key_and_value_knows_its_place() -> None:
    document = parse("a:\n  b: 1\n  c: [x, y]\n")
    assert document.position(("a", "b"), key=True) == (2, 3)
    assert document.position(("a", "b")) == (2, 6)
    assert document.position(("a", "c", 1)) == (3, 10)
    assert document.position(("a", "missing", "deeper")) == (2, 3)


def test_a_key_that_stands_twice_is_named_with_its_first_place() -> None:
    document = parse("a: 1\nb: 2\na: 3\n")
    assert document.problems == [((3, 1), "a: stands twice; first in line 1")]


def test_variables_come_from_the_environment_or_are_reported() -> None:
    document = parse("url: rtsp://u:${PW}@h\nother: ${NOPE}\n", {"PW": "s3cret"})
    assert document.data["url"] == "rtsp://u:s3cret@h"
    assert document.problems == [((2, 8), "environment variable NOPE is not set")]


def test_broken_yaml_has_a_place() -> None:
    ((place, what),) = parse("a: [1, 2\nb: 3\n").problems
    assert place[0] == 2
    assert "not valid YAML" in what


def test_two_documents_and_python_tags_are_refused() -> None:
    assert "not valid YAML" in parse("a: 1\n---\nb: 2\n").problems[0][1]
    assert "not valid YAML" in parse("a: !!python/object/apply:os.system ['true']\n").problems[0][1]


def test_a_small_file_that_stands_for_a_huge_one_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert any("more than" in what for _, what in parse("\n".join(lines)).problems)


def test_an_alias_of_itself_ends() -> None:
    assert parse("a: &x [*x]\n").problems


def test_a_million_brackets_end() -> None:
    assert parse("[" * 100_000).problems


def test_what_looks_like_a_date_or_a_number_and_is_none_has_a_place() -> None:
    text = f"a: 2026-99-99\nb: !!int x\nc: !!bool x\nd: {'9' * 5000}\n"
    places = [place for place, what in parse(text).problems if "put it in quotes" in what]
    assert places == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_characters_that_yaml_does_not_have_are_a_problem_and_no_exception() -> None:
    ((_, what),) = parse("a: \0").problems
    assert "not valid YAML" in what


def test_a_byte_order_mark_and_windows_line_ends_are_read_over() -> None:
    assert parse("\ufeffa: 1\r\nb: 2\r\n").data == {"a": 1, "b": 2}
