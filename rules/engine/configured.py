"""The configuration in force: what control records said so far, compiled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import msgspec
import xxhash
import zstandard

from rules.load import parse_rules
from rules.model import Query, RuleSet
from schemas.events import EVENT_TYPES
from schemas.reference import Reference
from schemas.wire import Config

ClockMode = Literal["wall", "demo", "data"]
_EMPTY = RuleSet((), ())


@dataclass(frozen=True, slots=True)
class Configured:
    """Rules, reference data and clock mode in force, with the content they came from."""

    content: bytes
    """Canonical compressed form of all of it; empty before the first control record."""
    hash: str
    rules: RuleSet
    reference: Reference | None
    mode: ClockMode

    def queries_of(self, event_type: str) -> tuple[Query, ...]:
        """Queries that count rows of a type."""
        return tuple(query for query in self.rules.queries if query.type == event_type)

    def delay_of(self, query: Query) -> int:
        """Delay of the query's event type, ms."""
        return EVENT_TYPES[query.type].delay


UNCONFIGURED = Configured(b"", "", _EMPTY, None, "wall")


def encode_config(config: Config) -> bytes:
    """Value of a control record."""
    return zstandard.ZstdCompressor(level=9).compress(msgspec.msgpack.encode(config))


def decode_config(value: bytes) -> Config:
    """A control record's value. Raises ValueError where it is not one."""
    try:
        return msgspec.msgpack.decode(_plain(value), type=Config)
    except (zstandard.ZstdError, msgspec.DecodeError) as error:
        raise ValueError(f"not a control record: {error}") from error


def _plain(value: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompress(value, max_output_size=256 * 1024 * 1024)


def amended(now: Configured, value: bytes) -> Configured:
    """The configuration after a control record; the same object if it changes nothing.

    Raises ValueError or DocumentError where the record cannot be used; then ``now`` stays.
    """
    change = decode_config(value)
    old = decode_config(now.content) if now.content else Config()
    merged = Config(
        rules=old.rules if change.rules is None else change.rules,
        reference=old.reference if change.reference is None else change.reference,
        clock_mode=change.clock_mode or old.clock_mode,
    )
    new = compiled(encode_config(merged))
    return now if new.hash == now.hash else new


@lru_cache(maxsize=8)
def compiled(content: bytes) -> Configured:
    """Compile a whole configuration (memoised: every partition gets the same)."""
    if not content:
        return UNCONFIGURED
    config = decode_config(content)
    return Configured(
        content,
        xxhash.xxh3_128_hexdigest(_plain(content)),
        parse_rules(config.rules or []),
        Reference.from_json(config.reference) if config.reference else None,
        config.clock_mode or "wall",
    )
