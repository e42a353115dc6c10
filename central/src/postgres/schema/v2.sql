-- Schema version 2: the order in which alerts were committed, and what each device said about itself last.
-- An ingest of some buckets commits one transaction after the other: among its own rows `n` is that order.
CREATE TABLE alert_feed (
    n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bucket SMALLINT NOT NULL,
    device TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL
);
CREATE INDEX alert_feed_bucket ON alert_feed (bucket, n);

-- `json` has the keys of the status message.
CREATE TABLE statuses (
    device TEXT PRIMARY KEY,
    received_ms BIGINT NOT NULL,
    json TEXT NOT NULL
);
