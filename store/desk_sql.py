"""The desk's longer statements, as PostgreSQL reads them."""

from __future__ import annotations

from sqlalchemy import TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger, Text

OPEN = "state IN ('waiting', 'leased')"

UNBLOCKED = """
NOT EXISTS (
    SELECT 1 FROM outbox AS earlier
    WHERE earlier.alert = o.alert AND earlier.person = o.person AND earlier.channel = o.channel
      AND earlier.seq < o.seq AND earlier.state IN ('waiting', 'leased')
) AND NOT EXISTS (
    SELECT 1 FROM outbox AS before
    WHERE before.id = ANY(o.after) AND before.seq < o.seq AND before.state IN ('waiting', 'leased')
)
"""

DUE = """
(o.state = 'waiting' AND o.next_try_at <= :now OR o.state = 'leased' AND o.lease_until <= :now)
AND NOT (o.id = ANY(:holding))
AND (o.person, o.channel) NOT IN (SELECT * FROM unnest(:busy_people, :busy_channels))
"""

# A window function and FOR UPDATE do not go together, so candidates are ranked first and locked
# then; the condition stands twice because a row may have changed in between.
LEASE = text(
    f"""
    WITH candidate AS (
        SELECT o.id, row_number() OVER (PARTITION BY o.person, o.channel ORDER BY o.severity, o.seq) AS place
        FROM outbox AS o
        WHERE {DUE} AND {UNBLOCKED}
    ), locked AS (
        SELECT o.id, o.state = 'leased' AS ran_out
        FROM outbox AS o JOIN candidate USING (id)
        WHERE candidate.place <= :per_recipient AND {DUE}
        ORDER BY o.severity, o.seq
        LIMIT :limit
        FOR UPDATE OF o SKIP LOCKED
    )
    UPDATE outbox AS o
    SET state = 'leased', lease_until = :until, attempts = o.attempts + 1
    FROM locked WHERE locked.id = o.id
    RETURNING o.*, locked.ran_out
    """  # noqa: S608 - put together from the constants above
).bindparams(*(bindparam(name, type_=ARRAY(Text)) for name in ("holding", "busy_people", "busy_channels")))

LOST_ATTEMPTS = text(
    "INSERT INTO deliveries (id, attempt, outcome, detail, at) VALUES (:id, :attempt, 'retry', :detail, :at) "
    "ON CONFLICT DO NOTHING"
)

NEXT_DUE = text(
    f"""
    SELECT min(CASE o.state WHEN 'leased' THEN o.lease_until ELSE o.next_try_at END)
    FROM outbox AS o WHERE o.{OPEN} AND {UNBLOCKED}
    """  # noqa: S608
)


def _neighbour(nearest: str, side: str) -> TextClause:
    """For each episode: the decisions of the nearest window on a side of the given one that told anybody."""
    return text(
        f"""
        SELECT d.*
        FROM (SELECT DISTINCT * FROM unnest(:episodes, :windows) AS asked (episode, window_start)) AS asked
        CROSS JOIN LATERAL (
            SELECT {nearest}(window_start) AS window_start FROM decisions
            WHERE episode = asked.episode AND window_start {side} asked.window_start
              AND phase = 'opening' AND outcome IN ('pushed', 'joined')
        ) AS told
        JOIN decisions AS d ON d.episode = asked.episode AND d.window_start = told.window_start
        ORDER BY d.seq
        """  # noqa: S608 - both are written below
    ).bindparams(bindparam("episodes", type_=ARRAY(Text)), bindparam("windows", type_=ARRAY(BigInteger)))


TOLD_BEFORE = _neighbour("max", "<")
TOLD_AFTER = _neighbour("min", ">")

UNPUBLISHED = text(
    """
    SELECT d.*, o.alert, o.transition, o.person, o.channel
    FROM deliveries AS d JOIN outbox AS o USING (id)
    WHERE NOT d.published ORDER BY d.at, d.id, d.attempt LIMIT :limit
    """
)

PUBLISHED = text(
    "UPDATE deliveries SET published = true WHERE id = :id AND attempt = :attempt AND revision = :revision"
)

SUMMARY = text(
    f"""
    SELECT count(*) FILTER (WHERE state = 'waiting') AS waiting,
           count(*) FILTER (WHERE state = 'leased') AS leased,
           count(*) FILTER (WHERE state = 'delivered') AS delivered,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           min(created_at) FILTER (WHERE {OPEN}) AS oldest_open,
           max(finished_at) FILTER (WHERE state = 'delivered') AS last_delivered,
           (SELECT count(*) FROM deliveries WHERE NOT published) AS unpublished
    FROM outbox
    """  # noqa: S608
)
