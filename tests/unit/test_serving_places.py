"""Who has a place of a resident runtime, and who gives one up."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.serving.places import Places

MOST = 4


def came(places: Places, number: int, process: int) -> bool:
    """Have a client come as the service does; return whether it was let in."""
    there_is, leaving = places.is_there_one(process)
    if leaving is not None:
        places.leave(leaving)
    if there_is:
        places.take(number, process)
    return there_is


def test_while_there_is_room_nobody_leaves() -> None:
    places = Places(MOST)
    assert all(came(places, number, 1) for number in range(MOST))
    assert len(places) == MOST


def test_the_first_of_whoever_holds_most_leaves_for_another() -> None:
    places = Places(MOST)
    for number, process in enumerate((1, 2, 2, 3)):
        assert came(places, number, process)
    assert came(places, 10, 4)
    assert [number for number in (0, 1, 2, 3, 10) if number in places] == [0, 2, 3, 10]


def test_nobody_leaves_for_one_that_holds_as_many_as_any() -> None:
    places = Places(MOST)
    assert all(came(places, number, 1) for number in range(MOST))
    assert not came(places, 10, 1)
    assert len(places) == MOST


def test_what_is_proven_is_kept() -> None:
    places = Places(MOST)
    assert all(came(places, number, 1) for number in range(MOST))
    assert all(places.prove(number) for number in range(MOST))
    assert not came(places, 10, 2)


def test_proof_that_comes_too_late_counts_no_more() -> None:
    places = Places(1)
    assert came(places, 0, 1)
    assert came(places, 1, 2)
    assert not places.prove(0)
    assert places.prove(1)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60))
def test_they_are_bounded_and_one_process_with_one_client_always_finds_room(
    clients: list[tuple[int, bool]],
) -> None:
    """Unless all that are there have proven themselves, or are the only ones of their process, too."""
    places = Places(MOST)
    process_of: dict[int, int] = {}
    proven: set[int] = set()
    for number, (process, proves) in enumerate(clients):
        there = Counter(process_of[each] for each in process_of if each in places and each not in proven)
        let_in = came(places, number, process)
        assert len(places) <= MOST
        assert all(each in places for each in proven)
        if not there[process] and (there or len(places) < MOST):
            assert let_in
        if let_in:
            process_of[number] = process
            if proves and places.prove(number):
                proven.add(number)
