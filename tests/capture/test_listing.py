from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamqa.capture.listing import Arrivals, Version, counts, look, natural


def test_people_count_two_before_ten() -> None:
    names = ["img10.jpg", "img2.jpg", "Img1.jpg", "b.jpg", "a.png", "10.jpg", "9.jpg"]
    assert sorted(names, key=natural) == [
        "9.jpg",
        "10.jpg",
        "a.png",
        "b.jpg",
        "Img1.jpg",
        "img2.jpg",
        "img10.jpg",
    ]


@given(st.lists(st.text(min_size=1, max_size=8), unique=True))
def test_any_names_have_an_order_and_no_two_are_alike(names: list[str]) -> None:
    assert len({str(natural(name)) for name in sorted(names, key=natural)}) == len(names)


@pytest.mark.parametrize("name", ["a.jpg", "A.JPEG", "b.png", "c.webp", "d.bmp", "e.mp4", "f.MKV", "tmp.jpg"])
def test_what_counts(name: str) -> None:
    assert counts(name)


@pytest.mark.parametrize(
    "name",
    [
        "a.txt",
        "jpg",
        "a.jpg.part",
        ".a.jpg",
        "._a.jpg",
        "~a.jpg",
        "a.tmp.jpg",
        "a.PART.mp4",
        ".a.jpg.Xy12",
        "",
    ],
)
def test_what_does_not_count(name: str) -> None:
    assert not counts(name)


def test_a_look_finds_files_and_links_to_files_only(tmp_path: Path) -> None:
    for name in ("10.jpg", "2.jpg", "a.txt"):
        (tmp_path / name).write_bytes(b"12")
    (tmp_path / "sub.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.png").symlink_to(tmp_path / "2.jpg")
    (tmp_path / "broken.png").symlink_to(tmp_path / "none.jpg")
    found = look(str(tmp_path))
    assert list(found) == ["2.jpg", "10.jpg", "link.png"]
    assert found["2.jpg"] == Version(2, (tmp_path / "2.jpg").stat().st_mtime_ns)


def test_a_file_is_given_when_it_stands_still_and_once() -> None:
    arrivals, a, b = Arrivals(), Version(5, 1), Version(9, 2)
    assert arrivals.take({"a": a}) == {}
    assert arrivals.take({"a": b}) == {}, "it grew"
    assert arrivals.take({"a": b, "c": a}) == {"a": b}
    assert arrivals.take({"a": b, "c": a}) == {"c": a}
    assert arrivals.take({"a": b, "c": a}) == {}


def test_a_file_that_changed_is_a_new_one() -> None:
    arrivals, first, second = Arrivals(), Version(5, 1), Version(5, 2)
    arrivals.take({"a": first})
    arrivals.take({"a": first})
    assert arrivals.take({"a": second}) == {}
    assert arrivals.take({"a": second}) == {"a": second}


def test_an_empty_file_is_being_written() -> None:
    arrivals = Arrivals()
    arrivals.take({"a": Version(0, 1)})
    assert arrivals.take({"a": Version(0, 1)}) == {}


def test_nothing_is_remembered_of_files_that_are_gone() -> None:
    arrivals, a = Arrivals(), Version(5, 1)
    arrivals.take({"a": a})
    arrivals.take({"a": a})
    arrivals.take({})
    assert arrivals._given == {}
    arrivals.take({"a": a})
    assert arrivals.take({"a": a}) == {"a": a}


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), max_size=30))
def test_no_version_is_given_twice_in_a_row_and_every_one_that_stands_is_given(
    looks: list[dict[str, int]],
) -> None:
    arrivals, last = Arrivals(), dict[str, Version]()
    for number, sizes in enumerate([*looks, *[looks[-1] if looks else {}] * 2]):
        found = {name: Version(size, size) for name, size in sizes.items()}
        last = {name: version for name, version in last.items() if name in found}
        for name, version in arrivals.take(found).items():
            assert last.get(name) != version, number
            last[name] = version
    standing = {n: Version(s, s) for n, s in (looks[-1] if looks else {}).items() if s}
    assert standing.items() <= last.items()
