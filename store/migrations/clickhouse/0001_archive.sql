-- Where each thing is kept once. `rank` decides which copy of a thing stays: the highest.
-- For things of which the first copy counts it is the complement of the place in the log, for
-- aggregates the version. Every table keeps its part of the log's address, so repeats are harmless.

CREATE DATABASE IF NOT EXISTS trucban;

CREATE TABLE IF NOT EXISTS trucban.event_log
(
    source String,
    id String,
    type LowCardinality(String),
    time DateTime64(3, 'Asia/Ho_Chi_Minh') CODEC(DoubleDelta, ZSTD(1)),
    arrived DateTime64(3, 'Asia/Ho_Chi_Minh') CODEC(DoubleDelta, ZSTD(1)),
    school LowCardinality(String),
    mark LowCardinality(String),
    raw String CODEC(ZSTD(3)),
    log_epoch LowCardinality(String),
    log_partition Int32,
    log_offset Int64 CODEC(Delta, ZSTD(1)),
    rank UInt64,
    INDEX by_time time TYPE minmax GRANULARITY 1,
    INDEX by_type type TYPE set(64) GRANULARITY 1,
    INDEX by_school school TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(time)
ORDER BY (source, id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS trucban.rejected_log
(
    log_epoch LowCardinality(String),
    partition Int32,
    position Int64,
    refusal String,
    arrived DateTime64(3, 'Asia/Ho_Chi_Minh'),
    reason LowCardinality(String),
    field String,
    message String,
    bytes String CODEC(ZSTD(3)),
    source String,
    event_id String,
    event_type String,
    rank UInt64
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(arrived)
ORDER BY (log_epoch, partition, position, refusal)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS trucban.aggregate_log
(
    rule LowCardinality(String),
    rule_hash String,
    group_key String,
    window_start DateTime64(3, 'Asia/Ho_Chi_Minh'),
    window_end DateTime64(3, 'Asia/Ho_Chi_Minh'),
    `group` Map(String, String),
    measures Map(String, Nullable(Float64)),
    version Int64,
    log_epoch LowCardinality(String),
    rank UInt64
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(window_start)
ORDER BY (rule, rule_hash, group_key, window_start, window_end)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS trucban.transition_log
(
    id String,
    alert String,
    ordinal Int64,
    rule LowCardinality(String),
    rule_hash String,
    severity LowCardinality(String),
    status LowCardinality(String),
    `group` Map(String, String),
    window_start DateTime64(3, 'Asia/Ho_Chi_Minh'),
    window_end DateTime64(3, 'Asia/Ho_Chi_Minh'),
    state LowCardinality(String),
    at DateTime64(3, 'Asia/Ho_Chi_Minh'),
    decided_at DateTime64(3, 'Asia/Ho_Chi_Minh'),
    reason LowCardinality(String),
    measures Map(String, Nullable(Float64)),
    limits Map(String, String),
    positions Map(String, Int64),
    event_ids Array(String),
    title Map(String, String),
    text Map(String, String),
    notify Array(String),
    log_epoch LowCardinality(String),
    log_partition Int32,
    log_offset Int64,
    rank UInt64
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(at)
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS trucban.alert_log AS trucban.transition_log
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(at)
ORDER BY (alert, ordinal)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS trucban.delivery_log
(
    id String,
    attempt Int64,
    alert String,
    transition String,
    person String,
    channel LowCardinality(String),
    outcome LowCardinality(String),
    detail String,
    at DateTime64(3, 'Asia/Ho_Chi_Minh'),
    log_epoch LowCardinality(String),
    log_partition Int32,
    log_offset Int64,
    rank UInt64
)
ENGINE = ReplacingMergeTree(rank)
PARTITION BY toYYYYMM(at)
ORDER BY (id, attempt)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS trucban.quarantine_log
(
    log_epoch LowCardinality(String),
    topic LowCardinality(String),
    log_partition Int32,
    log_offset Int64,
    stamped DateTime64(3, 'Asia/Ho_Chi_Minh'),
    reason String,
    bytes String CODEC(ZSTD(3))
)
ENGINE = ReplacingMergeTree
ORDER BY (log_epoch, topic, log_partition, log_offset)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS trucban.epoch_log
(
    log_epoch String,
    ordinal UInt32
)
ENGINE = ReplacingMergeTree(ordinal)
ORDER BY log_epoch
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

CREATE TABLE IF NOT EXISTS trucban.position_log
(
    log_epoch LowCardinality(String),
    topic LowCardinality(String),
    log_partition Int32,
    next Int64,
    stored_at DateTime64(3, 'Asia/Ho_Chi_Minh') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(next)
ORDER BY (log_epoch, topic, log_partition)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
