"""The index by 128 bits, against a dict."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.engine import blocks, runs
from rules.engine.blocks import Ledger, by_part, load_run, put_runs
from rules.engine.runs import Keys, Runs
from schemas.topics import MAX_BLOCK_BYTES

Key = tuple[int, int]
FEW = st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2**63, 2**64 - 1]))
"""Keys that often have equal low halves."""


def keys_of(keys: list[Key]) -> Keys:
    return Keys(np.array([h for h, _ in keys], np.uint64), np.array([low for _, low in keys], np.uint64))


def rows_of(values: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"value": values, "expires": values}, schema={"value": pl.Int64, "expires": pl.Int64})


def find(index: Runs, keys: list[Key]) -> list[int | None]:
    where, found = index.find(keys_of(keys))
    return [found["value"][int(at)] if at >= 0 else None for at in where]


@dataclass
class Written:
    """A snapshot's blocks as a topic keeps them: a name must never stand for other bytes."""

    blocks: dict[str, bytes] = field(default_factory=dict)
    ledger: Ledger = field(default_factory=Ledger)

    def snapshot(self, index: Runs, *, complete: bool = False) -> Runs:
        """Write the index and read it back."""
        self.ledger.begin(complete=complete)
        put_runs(self.ledger, "x", index)
        state = self.ledger.finish(0)
        for name, content in state.blocks.items():
            assert len(content) <= MAX_BLOCK_BYTES
            assert name not in self.blocks or self.blocks[name] == content, f"{name} was used before"
            self.blocks[name] = content
        parts = by_part({name: self.blocks[name] for name in state.live})
        again = Runs()
        for part in sorted(parts, key=lambda part: int(part.rpartition("/")[2])):
            load_run(again, int(part.rpartition("/")[2]), parts[part])
        return again


@given(
    st.lists(st.one_of(st.dictionaries(FEW, st.integers(0, 50), max_size=6), st.integers(0, 40)), max_size=30)
)
def test_an_index_is_a_dict_through_adding_merging_and_snapshots(steps: list[dict[Key, int] | int]) -> None:
    index, expected, written = Runs(), dict[Key, int](), Written()
    for number, step in enumerate(steps):
        if isinstance(step, int):
            index = written.snapshot(index, complete=step % 5 == 0)
        else:
            index.add(keys_of(list(step)), rows_of(list(step.values())))
            expected.update(step)
        wanted = [(high, low) for high in range(4) for low in (0, 1, 2**63, 2**64 - 1)]
        assert find(index, wanted) == [expected.get(key) for key in wanted], number


@given(
    st.lists(
        st.tuples(st.dictionaries(FEW, st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 60)),
        max_size=20,
    )
)
def test_expiry_forgets_only_what_is_too_old(steps: list[tuple[dict[Key, int], int]]) -> None:
    index, expected, floor = Runs(), dict[Key, int](), 0
    for rows, before in steps:
        index.add(keys_of(list(rows)), rows_of(list(rows.values())))
        expected.update(rows)
        floor = max(floor, before)
        index.expire("expires", floor)
        for key, value in zip(expected, find(index, list(expected)), strict=True):
            if expected[key] >= floor:
                assert value == expected[key]


def test_runs_stay_few_and_each_key_is_there_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "SMALLEST", 8)
    index = Runs()
    for number in range(500):
        index.add(
            keys_of([(n, n % 7) for n in range(number % 13, 60, 7)]),
            rows_of([number] * len(range(number % 13, 60, 7))),
        )
    assert len(list(index)) <= 12
    assert len(index) <= 60 * len(list(index))
    for run in index:
        pairs = list(zip(run.keys.lo.tolist(), run.keys.hi.tolist(), strict=True))
        assert pairs == sorted(set(pairs))


def test_merging_forgets_expired_rows() -> None:
    index = Runs()
    for number in range(8):
        index.add(keys_of([(number, 1), (number, 2)]), rows_of([number, 1000]))
        index.expire("expires", 5)
    assert find(index, [(0, 1), (0, 2), (7, 1)]) == [None, 1000, 7]


def test_blocks_of_a_large_run_are_bounded() -> None:
    index, count = Runs(), 20_000
    random = np.random.default_rng(1)
    keys = Keys(random.integers(0, 2**63, count, np.uint64), random.integers(0, 2**63, count, np.uint64))
    text = [random.bytes(60).hex() for _ in range(count)]
    index.add(keys, pl.DataFrame({"value": range(count), "text": text}))
    written = Written()
    again = written.snapshot(index)
    assert len(written.blocks) > count // blocks.ROWS_A_BLOCK
    assert len(again) == count
    where, found = again.find(keys)
    assert found[where]["text"].to_list() == text


def test_a_run_is_written_once_and_again_in_a_complete_snapshot() -> None:
    index, written = Runs(), Written()
    index.add(keys_of([(1, 1)]), rows_of([1]))
    written.snapshot(index)
    written.ledger.begin(complete=False)
    put_runs(written.ledger, "x", index)
    assert not written.ledger.finish(1).blocks
    written.ledger.begin(complete=True)
    put_runs(written.ledger, "x", index)
    state = written.ledger.finish(2)
    assert set(state.blocks) == set(state.live)


@settings(max_examples=20)
@given(st.lists(st.integers(0, 2 * MAX_BLOCK_BYTES + 5), max_size=4))
def test_what_is_too_large_for_a_record_goes_in_pieces(sizes: list[int]) -> None:
    contents = [bytes([number]) * size for number, size in enumerate(sizes)]
    ledger = Ledger()
    ledger.begin(complete=True)
    ledger.put("a/b", contents)
    state = ledger.finish(3)
    assert all(len(block) <= MAX_BLOCK_BYTES for block in state.blocks.values())
    assert by_part(dict(reversed(state.blocks.items()))) == ({"a/b": contents} if contents else {})


def test_names_go_on_above_those_restored() -> None:
    first, state = Ledger(), Ledger().finish(0)
    for number in range(12):
        first.begin(complete=False)
        first.put("a", [bytes([number])])
        state = first.finish(number)
    second = Ledger()
    second.resume(state.live)
    second.begin(complete=True)
    second.put("a", [b"new"])
    assert set(second.finish(13).live).isdisjoint(state.live)
