"""The desk's tables as SQLAlchemy knows them. ``migrations/postgres`` is what creates them."""

from __future__ import annotations

from sqlalchemy import ARRAY, BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, Table, Text

METADATA = MetaData()

positions = Table(
    "positions",
    METADATA,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("epoch", Text, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

decisions = Table(
    "decisions",
    METADATA,
    Column("seq", BigInteger),
    Column("alert", Text, primary_key=True),
    Column("transition", Text, primary_key=True),
    Column("person", Text, primary_key=True),
    Column("channel", Text, primary_key=True),
    Column("ordinal", BigInteger, nullable=False),
    Column("rule", Text, nullable=False),
    Column("episode", Text, nullable=False),
    Column("window_start", BigInteger, nullable=False),
    Column("severity", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("push", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

outbox = Table(
    "outbox",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("seq", BigInteger),
    Column("alert", Text, nullable=False),
    Column("transition", Text, nullable=False),
    Column("person", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("after", ARRAY(Text), nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_try_at", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
)

deliveries = Table(
    "deliveries",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("published", Boolean, nullable=False),
)

unreadable = Table(
    "unreadable",
    METADATA,
    Column("topic", Text, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("epoch", Text, primary_key=True),
    Column("offset", BigInteger, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("value", LargeBinary, nullable=False),
)
