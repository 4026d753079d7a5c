-- What people read: exactly one row for each thing. Made anew by every installation of this file.

CREATE OR REPLACE VIEW trucban.events AS
SELECT
    id, source, type, time, arrived, school,
    JSONExtractRaw(raw, 'data') AS data,
    raw, mark,
    concat(log_epoch, '/school.events/', toString(log_partition), '/', toString(log_offset)) AS position,
    log_epoch, log_partition, log_offset
FROM trucban.event_log FINAL;

CREATE OR REPLACE VIEW trucban.rejected AS
SELECT
    reason, field, message, bytes, arrived, source, event_id, event_type,
    if(partition < 0, concat('sender/', refusal),
       concat(log_epoch, '/school.events/', toString(partition), '/', toString(position))) AS position,
    log_epoch, partition AS log_partition, rejected_log.position AS log_offset
FROM trucban.rejected_log FINAL;

CREATE OR REPLACE VIEW trucban.aggregates AS
SELECT rule, rule_hash, `group`, window_start, window_end, measures, version
FROM trucban.aggregate_log FINAL;

CREATE OR REPLACE VIEW trucban.transitions AS
SELECT
    id, alert, ordinal, rule, rule_hash, severity, status, `group`, window_start, window_end, state,
    at, decided_at, reason, measures, limits, positions, event_ids, title, text, notify,
    concat(log_epoch, '/alerting.transitions/', toString(log_partition), '/', toString(log_offset)) AS position
FROM trucban.transition_log FINAL;

CREATE OR REPLACE VIEW trucban.alerts AS
SELECT
    alert,
    last.1 AS rule, last.2 AS rule_hash, last.3 AS severity, last.4 AS status, last.5 AS `group`,
    last.6 AS window_start, last.7 AS window_end, last.8 AS state, last.9 AS at, last.10 AS decided_at,
    last.11 AS reason, last.12 AS measures, last.13 AS limits, last.14 AS event_ids, last.15 AS title,
    last.16 AS text, last.17 AS transition, last.18 AS ordinal, first_firing_at
FROM
(
    SELECT
        alert,
        argMax(tuple(rule, rule_hash, severity, status, `group`, window_start, window_end, state, at,
                     decided_at, reason, measures, limits, event_ids, title, text, id, ordinal),
               ordinal) AS last,
        minOrNullIf(at, state = 'firing') AS first_firing_at
    FROM trucban.alert_log FINAL
    GROUP BY alert
);

CREATE OR REPLACE VIEW trucban.deliveries AS
SELECT id, attempt, alert, transition, person, channel, outcome, detail, at
FROM trucban.delivery_log FINAL;

CREATE OR REPLACE VIEW trucban.quarantine AS
SELECT
    reason, bytes, stamped, topic,
    concat(log_epoch, '/', topic, '/', toString(log_partition), '/', toString(log_offset)) AS position
FROM trucban.quarantine_log FINAL;
