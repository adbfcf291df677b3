"""What the connections of one runtime may have open at once, whatever the others do."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mpp_exec.mcp.shares import Share, Shares, room


@given(st.integers(0, 400), st.integers(1, 40), st.lists(st.tuples(st.integers(0, 39), st.booleans())))
def test_each_connection_finds_its_own_and_all_together_no_more_than_there_are(
    calls: int, connections: int, steps: list[tuple[int, bool]]
) -> None:
    shares = Shares(calls, connections)
    held = [0] * connections
    each = [Share(shares) for _ in held]
    for place, takes in steps:
        at = place % connections
        if takes:
            taken = each[at].take()
            assert taken or held[at] >= shares.own
            held[at] += taken
        elif held[at]:
            each[at].give()
            held[at] -= 1
        assert sum(held) <= max(calls, connections)
    assert all(each[at].take() for at, has in enumerate(held) if has < shares.own)
    for at, has in enumerate(held):
        for _ in range(has + (has < shares.own)):
            each[at].give()
    assert shares.taken == 0


def test_a_connection_of_its_own_process_is_not_bounded() -> None:
    assert all(Share().take() for _ in range(1000))


def test_there_is_room_for_a_few_however_few_descriptors_there_are() -> None:
    assert room(sandboxes=10_000, clients=64, connections=32) == 96
