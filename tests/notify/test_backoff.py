from hypothesis import given
from hypothesis import strategies as st

from notify.backoff import Backoff


@given(st.integers(1, 500), st.integers())
def test_waits_double_up_to_the_cap_with_jitter(attempt: int, seed: int) -> None:
    wait = Backoff(1.0, 300.0, seed).wait(attempt)
    whole = min(2.0 ** min(attempt - 1, 60), 300.0)
    assert whole / 2 <= wait <= whole


def test_what_the_receiver_asks_for_is_the_least() -> None:
    assert Backoff(1.0, 300.0, 1).wait(1, 120.0) == 120.0
    assert Backoff(1.0, 300.0, 1).wait(9, 0.5) > 100.0


def test_the_jitter_has_a_seed() -> None:
    first, second = Backoff(1.0, 60.0, 7), Backoff(1.0, 60.0, 7)
    assert [first.wait(n) for n in range(1, 9)] == [second.wait(n) for n in range(1, 9)]
