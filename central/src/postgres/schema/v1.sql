-- Schema version 1. Numbers of an epoch are integers below 2^63; people see them as 16 hex digits.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    schema_version INTEGER NOT NULL,
    central_id BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE devices (
    device TEXT PRIMARY KEY,
    epoch BIGINT,
    births BIGINT NOT NULL,
    link TEXT NOT NULL,
    seen_ms BIGINT NOT NULL
);

CREATE TABLE epochs (
    device TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    boot_id TEXT,
    spool_id TEXT,
    incarnation BIGINT,
    born_order BIGINT,
    birth_boottime_ms BIGINT,
    clean BOOLEAN NOT NULL,
    software TEXT NOT NULL,
    PRIMARY KEY (device, epoch)
);

CREATE TABLE catalogues (
    device TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    sensor BIGINT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    unit TEXT NOT NULL,
    role TEXT NOT NULL,
    calibration BIGINT NOT NULL,
    period_ms BIGINT NOT NULL,
    version BIGINT NOT NULL,
    -- Where the sensor sits, and until when its calibration counts (a date, or NULL).
    compartment TEXT NOT NULL,
    calibration_until TEXT,
    PRIMARY KEY (device, epoch, sensor)
);

-- A short number for (device, epoch, lane), so that a row of `reading` stays small; and the have-set of the
-- stream in the same row, which an ingest locks before it adds rows. `version` counts its changes.
CREATE TABLE streams (
    stream BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    lane TEXT NOT NULL,
    have INT8MULTIRANGE NOT NULL DEFAULT '{}',
    version BIGINT NOT NULL DEFAULT 0,
    UNIQUE (device, epoch, lane)
);

CREATE VIEW have_set AS
    SELECT s.device, s.epoch, s.lane, lower(r.range) AS first_seq, upper(r.range) - 1 AS last_seq
    FROM streams AS s, LATERAL unnest(s.have) AS r (range);

-- What `raw`, `detail`, `aux` and `scalar` mean depends on the kind: read the view `readings`.
-- `month` is the month of receipt, as 202611, and names the partition `reading_202611`.
CREATE TABLE reading (
    stream BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    month INTEGER NOT NULL,
    sensor SMALLINT NOT NULL,
    kind SMALLINT NOT NULL,
    score SMALLINT NOT NULL,
    boottime_ms BIGINT NOT NULL,
    utc_ms BIGINT,
    -- The true UTC is at most so far away; NULL when nobody vouches for it.
    utc_error_ms BIGINT,
    -- 0 none, 1 fake, 2 RTC, 3 NTP, 4 GNSS.
    utc_source SMALLINT NOT NULL DEFAULT 0,
    raw BIGINT,
    detail BIGINT,
    aux BIGINT,
    scalar DOUBLE PRECISION,
    lat INTEGER,
    lon INTEGER,
    height_mm BIGINT,
    speed_mm_s BIGINT,
    course_1e5_deg BIGINT,
    h_acc_mm BIGINT,
    dop_centi BIGINT,
    satellites BIGINT,
    PRIMARY KEY (stream, seq, month)
) PARTITION BY LIST (month);

CREATE TABLE batches (
    stream BIGINT NOT NULL REFERENCES streams (stream),
    first_seq BIGINT NOT NULL,
    count BIGINT NOT NULL,
    codec SMALLINT NOT NULL,
    crc BIGINT NOT NULL,
    len BIGINT NOT NULL,
    base_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    -- 0 none, 1 fake, 2 RTC, 3 NTP, 4 GNSS: who vouches for the UTC of its rows.
    utc_source SMALLINT NOT NULL,
    sealed BYTEA,
    PRIMARY KEY (stream, first_seq)
);
CREATE INDEX batches_received ON batches (received_ms);

CREATE VIEW frames AS
    SELECT s.device, s.epoch, s.lane, b.*
    FROM batches AS b JOIN streams AS s USING (stream);

-- Valid frames of codecs that were unknown when they came.
CREATE TABLE raw_batches (
    stream BIGINT NOT NULL REFERENCES streams (stream),
    first_seq BIGINT NOT NULL,
    count BIGINT NOT NULL,
    codec SMALLINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (stream, first_seq)
);

CREATE TABLE alerts (
    device TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    severity TEXT NOT NULL,
    kind TEXT NOT NULL,
    sensor TEXT NOT NULL,
    value DOUBLE PRECISION,
    unit TEXT NOT NULL,
    expected DOUBLE PRECISION,
    low DOUBLE PRECISION,
    high DOUBLE PRECISION,
    boottime_ms BIGINT NOT NULL,
    utc_ms BIGINT,
    utc_error_ms BIGINT,
    utc_source SMALLINT NOT NULL DEFAULT 0,
    text TEXT NOT NULL,
    json TEXT NOT NULL,
    received_ms BIGINT NOT NULL,
    PRIMARY KEY (device, epoch, seq)
);

CREATE TABLE losses (
    device TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    lane TEXT NOT NULL,
    first_seq BIGINT NOT NULL,
    -- NULL: everything from first_seq on, the unknown tail of a crashed epoch.
    last_seq BIGINT,
    reason TEXT NOT NULL,
    at_most BIGINT,
    -- For an open tail: the lowest start that the device named.
    told_first_seq BIGINT,
    PRIMARY KEY (device, epoch, lane, first_seq)
);

-- The next number of a lane, as the device reported it last.
CREATE TABLE issued (
    device TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    lane TEXT NOT NULL,
    next_seq BIGINT NOT NULL,
    PRIMARY KEY (device, epoch, lane)
);

CREATE TABLE anchors (
    device TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    boottime_ms BIGINT NOT NULL,
    utc_ms BIGINT NOT NULL,
    source TEXT NOT NULL,
    error_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    PRIMARY KEY (device, boot_id, boottime_ms, source)
);

-- Stamps of a boot whose rows are to be dated by its anchors.
CREATE TABLE to_date (
    device TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    from_ms BIGINT NOT NULL,
    to_ms BIGINT NOT NULL,
    PRIMARY KEY (device, boot_id, from_ms, to_ms)
);

CREATE TABLE quarantine (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_ms BIGINT NOT NULL,
    device TEXT NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    bytes BYTEA NOT NULL,
    crc BIGINT NOT NULL,
    count BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX quarantine_print ON quarantine (crc, device, reason);

CREATE TABLE alarms (
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    epoch BIGINT NOT NULL,
    lane TEXT NOT NULL,
    first_seq BIGINT,
    last_seq BIGINT,
    text TEXT NOT NULL,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    count BIGINT NOT NULL,
    PRIMARY KEY (device, kind, epoch, lane)
);

CREATE TABLE counters (
    device TEXT NOT NULL,
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (device, name)
);

-- Numbers whose rows retention has deleted.
CREATE TABLE expired (
    stream BIGINT NOT NULL REFERENCES streams (stream),
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    PRIMARY KEY (stream, first_seq)
);
