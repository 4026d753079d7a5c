-- What the notifier decides, what is due to be sent, what came of it, and how far it has read.
-- Instants are milliseconds since the Unix epoch, as everywhere on the wire.

-- Next record to read of one log partition. The epoch is made with the topic: another epoch is
-- another log, whose offsets mean nothing here.
CREATE TABLE positions (
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    epoch       text    NOT NULL,
    next_offset bigint  NOT NULL CHECK (next_offset >= 0),
    PRIMARY KEY (topic, partition, epoch)
);

CREATE TABLE decisions (
    seq          bigint  GENERATED ALWAYS AS IDENTITY UNIQUE,
    alert        text    NOT NULL,
    transition   text    NOT NULL,
    person       text    NOT NULL,
    channel      text    NOT NULL,
    ordinal      bigint  NOT NULL,
    rule         text    NOT NULL,
    episode      text    NOT NULL,
    window_start bigint  NOT NULL,
    severity     text    NOT NULL,
    phase        text    NOT NULL CHECK (phase IN ('opening', 'closing', 'quiet')),
    outcome      text    NOT NULL CHECK (outcome IN ('pushed', 'joined', 'shadow', 'digest', 'not_due', 'gone')),
    reason       text    NOT NULL,
    push         text    NOT NULL,
    at           bigint  NOT NULL,
    PRIMARY KEY (alert, transition, person, channel)
);

-- Who was told of an episode's alert in the window before.
CREATE INDEX decisions_told ON decisions (episode, window_start)
    WHERE phase = 'opening' AND outcome IN ('pushed', 'joined');

-- One push for each row. The id is its idempotency key, a function of the four that are unique.
CREATE TABLE outbox (
    id          text    PRIMARY KEY,
    seq         bigint  GENERATED ALWAYS AS IDENTITY UNIQUE,
    alert       text    NOT NULL,
    transition  text    NOT NULL,
    person      text    NOT NULL,
    channel     text    NOT NULL,
    severity    text    NOT NULL,
    payload     bytea   NOT NULL,
    state       text    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'leased', 'delivered', 'failed')),
    attempts    integer NOT NULL DEFAULT 0,
    next_try_at bigint  NOT NULL,
    lease_until bigint  NOT NULL DEFAULT 0,
    created_at  bigint  NOT NULL,
    finished_at bigint,
    UNIQUE (alert, transition, person, channel)
);

CREATE INDEX outbox_open ON outbox (alert, person, channel, seq) WHERE state IN ('waiting', 'leased');

-- What came of each attempt. `published` once it stands in the topic of deliveries.
CREATE TABLE deliveries (
    id        text    NOT NULL REFERENCES outbox (id),
    attempt   integer NOT NULL,
    outcome   text    NOT NULL CHECK (outcome IN ('delivered', 'retry', 'failed')),
    detail    text    NOT NULL,
    at        bigint  NOT NULL,
    revision  integer NOT NULL DEFAULT 1,
    published boolean NOT NULL DEFAULT false,
    PRIMARY KEY (id, attempt)
);

CREATE INDEX deliveries_unpublished ON deliveries (at) WHERE NOT published;

-- Records of the log of alerts that could not be read: kept, so that they can be decided after a fix.
CREATE TABLE unreadable (
    topic     text    NOT NULL,
    partition integer NOT NULL,
    epoch     text    NOT NULL,
    "offset"  bigint  NOT NULL,
    reason    text    NOT NULL,
    value     bytea   NOT NULL,
    PRIMARY KEY (topic, partition, epoch, "offset")
);
