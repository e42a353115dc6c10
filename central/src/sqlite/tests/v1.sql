-- Schema version 1. Numbers of an epoch are integers below 2^63; people see them as 16 hex digits.
CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    central_id INTEGER NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE devices (
    device TEXT PRIMARY KEY,
    epoch INTEGER,
    births INTEGER NOT NULL,
    link TEXT NOT NULL,
    seen_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE epochs (
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    boot_id TEXT,
    spool_id TEXT,
    incarnation INTEGER,
    born_order INTEGER,
    birth_boottime_ms INTEGER,
    clean INTEGER NOT NULL,
    software TEXT NOT NULL,
    PRIMARY KEY (device, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE catalogues (
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    sensor INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    unit TEXT NOT NULL,
    role TEXT NOT NULL,
    calibration INTEGER NOT NULL,
    period_ms INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (device, epoch, sensor)
) STRICT, WITHOUT ROWID;

-- A short number for (device, epoch, lane), so that a row of `reading` stays small.
CREATE TABLE streams (
    stream INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    lane TEXT NOT NULL,
    UNIQUE (device, epoch, lane)
) STRICT;

-- What `raw`, `detail`, `aux` and `scalar` mean depends on the kind: read the view `readings`.
CREATE TABLE reading (
    stream INTEGER NOT NULL REFERENCES streams (stream),
    seq INTEGER NOT NULL,
    sensor INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    boottime_ms INTEGER NOT NULL,
    utc_ms INTEGER,
    score INTEGER NOT NULL,
    raw INTEGER,
    detail INTEGER,
    aux INTEGER,
    scalar REAL,
    lat INTEGER,
    lon INTEGER,
    height_mm INTEGER,
    speed_mm_s INTEGER,
    course_1e5_deg INTEGER,
    h_acc_mm INTEGER,
    dop_centi INTEGER,
    satellites INTEGER,
    PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE batches (
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    lane TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    len INTEGER NOT NULL,
    base_ms INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    -- 0 none, 1 fake, 2 RTC, 3 NTP, 4 GNSS: who vouches for the UTC of its rows.
    utc_source INTEGER NOT NULL,
    sealed BLOB,
    PRIMARY KEY (device, epoch, lane, first_seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_undated ON batches (device, epoch) WHERE utc_source < 2;
CREATE INDEX batches_received ON batches (received_ms);

-- Valid frames of codecs that were unknown when they came.
CREATE TABLE raw_batches (
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    lane TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (device, epoch, lane, first_seq)
) STRICT;

CREATE TABLE alerts (
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    severity TEXT NOT NULL,
    kind TEXT NOT NULL,
    sensor TEXT NOT NULL,
    value REAL,
    unit TEXT NOT NULL,
    expected REAL,
    low REAL,
    high REAL,
    boottime_ms INTEGER NOT NULL,
    utc_ms INTEGER,
    text TEXT NOT NULL,
    json TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    PRIMARY KEY (device, epoch, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE have_set (
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    lane TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    PRIMARY KEY (device, epoch, lane, first_seq),
    CHECK (first_seq <= last_seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE losses (
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    lane TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    -- NULL: everything from first_seq on, the unknown tail of a crashed epoch.
    last_seq INTEGER,
    reason TEXT NOT NULL,
    at_most INTEGER,
    -- For an open tail: the lowest start that the device named.
    told_first_seq INTEGER,
    PRIMARY KEY (device, epoch, lane, first_seq)
) STRICT, WITHOUT ROWID;

-- The next number of a lane, as the device reported it last.
CREATE TABLE issued (
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    lane TEXT NOT NULL,
    next_seq INTEGER NOT NULL,
    PRIMARY KEY (device, epoch, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE anchors (
    device TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    boottime_ms INTEGER NOT NULL,
    utc_ms INTEGER NOT NULL,
    source TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    PRIMARY KEY (device, boot_id, boottime_ms, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
    id INTEGER PRIMARY KEY,
    received_ms INTEGER NOT NULL,
    device TEXT NOT NULL,
    topic TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE alarms (
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    lane TEXT NOT NULL,
    first_seq INTEGER,
    last_seq INTEGER,
    text TEXT NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (device, kind, epoch, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
    device TEXT NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (device, name)
) STRICT, WITHOUT ROWID;

PRAGMA application_id = 1181501303;
PRAGMA user_version = 1;
INSERT INTO meta VALUES (1, 81985529216486895, 1000);
INSERT INTO devices VALUES ('truck-001', 1, 1, 'up', 1000);
INSERT INTO epochs VALUES ('truck-001', 1, '01010101010101010101010101010101', '00000000000000ff', 1, 1, 5, 0, '0.1.0');
INSERT INTO catalogues VALUES ('truck-001', 1, 1, 'cargo', 'temperature', 'degC', 'load', 0, 1000, 7);
INSERT INTO streams VALUES (1, 'truck-001', 1, 'telemetry');
INSERT INTO reading (stream, seq, sensor, kind, boottime_ms, score, raw) VALUES (1, 0, 1, 0, 10000, 0, 512);
INSERT INTO reading (stream, seq, sensor, kind, boottime_ms, score, raw) VALUES (1, 1, 1, 0, 11000, 0, 513);
INSERT INTO batches VALUES ('truck-001', 1, 'telemetry', 0, 2, 1, 99, 40, 10000, 1000, 0, NULL);
INSERT INTO raw_batches VALUES ('truck-001', 1, 'health', 0, 1, 77, x'00');
INSERT INTO alerts VALUES ('truck-001', 1, 0, 'a', 'raised', 'warning', 'limit_high', 'cargo', 9.5, 'degC', NULL, NULL, 8.0, 5, NULL, 'warm', '{}', 1000);
INSERT INTO have_set VALUES ('truck-001', 1, 'telemetry', 0, 1);
INSERT INTO losses VALUES ('truck-001', 1, 'alert', 1, 2, 'evicted', NULL, NULL);
INSERT INTO issued VALUES ('truck-001', 1, 'telemetry', 2);
INSERT INTO anchors VALUES ('truck-001', '01010101010101010101010101010101', 0, 1000000, 'ntp', 1000);
INSERT INTO quarantine VALUES (1, 1000, 'truck-001', 't', 'corrupt', 'd', x'010203');
INSERT INTO alarms VALUES ('truck-001', 'identity_clash', 1, 'telemetry', 0, 1, 't', 1, 1, 1);
INSERT INTO counters VALUES ('truck-001', 'frames', 1);
