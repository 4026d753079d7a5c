-- Who holds an alert, and steps that are said again: (alert, ordinal, revision) is one thing of alert_log.

ALTER TABLE trucban.transition_log
    ADD COLUMN IF NOT EXISTS places Map(String, String),
    ADD COLUMN IF NOT EXISTS revision Int64,
    ADD COLUMN IF NOT EXISTS held_by String,
    ADD COLUMN IF NOT EXISTS held_how LowCardinality(String),
    ADD COLUMN IF NOT EXISTS holds Int64;

ALTER TABLE trucban.alert_log
    ADD COLUMN IF NOT EXISTS places Map(String, String),
    ADD COLUMN IF NOT EXISTS revision Int64,
    ADD COLUMN IF NOT EXISTS held_by String,
    ADD COLUMN IF NOT EXISTS held_how LowCardinality(String),
    ADD COLUMN IF NOT EXISTS holds Int64,
    MODIFY ORDER BY (alert, ordinal, revision);

CREATE OR REPLACE VIEW trucban.transitions AS
SELECT
    id, alert, ordinal, rule, rule_hash, severity, status, `group`, window_start, window_end, state,
    at, decided_at, reason, measures, limits, positions, event_ids, title, text, notify, places,
    concat(log_epoch, '/alerting.transitions/', toString(log_partition), '/', toString(log_offset)) AS position
FROM trucban.transition_log FINAL;

CREATE OR REPLACE VIEW trucban.alerts AS
SELECT
    alert,
    last.1 AS rule, last.2 AS rule_hash, last.3 AS severity, last.4 AS status, last.5 AS `group`,
    last.6 AS window_start, last.7 AS window_end, last.8 AS state, last.9 AS at, last.10 AS decided_at,
    last.11 AS reason, last.12 AS measures, last.13 AS limits, last.14 AS event_ids, last.15 AS title,
    last.16 AS text, last.17 AS transition, last.18 AS ordinal, first_firing_at,
    last.19 AS places, last.20 AS revision, last.21 AS held_by, last.22 AS held_how, last.23 AS holds
FROM
(
    SELECT
        alert,
        argMax(tuple(rule, rule_hash, severity, status, `group`, window_start, window_end, state, at,
                     decided_at, reason, measures, limits, event_ids, title, text, id, ordinal,
                     places, revision, held_by, held_how, holds),
               tuple(ordinal, revision)) AS last,
        minOrNullIf(at, state = 'firing') AS first_firing_at
    FROM trucban.alert_log FINAL
    GROUP BY alert
);
