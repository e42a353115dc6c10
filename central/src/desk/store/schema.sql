-- Schema version 1 of the desk's own file.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per alert; the columns beside `body` are for looking it up.
CREATE TABLE item (
    id TEXT PRIMARY KEY,
    device TEXT NOT NULL,
    severity INTEGER NOT NULL,
    is_open INTEGER NOT NULL,
    received_ms INTEGER NOT NULL,
    changed_ms INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX item_received ON item (received_ms, id);
CREATE INDEX item_open ON item (received_ms, id) WHERE is_open = 1;

CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    alert_id TEXT,
    device TEXT,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE note (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    alert_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    who TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX note_alert ON note (alert_id, id);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

-- Who is to be told what. `key` is the alert's id and the transition: the same on every attempt.
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    alert_id TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    -- It waits for the schedule of its route.
    not_before_ms INTEGER,
    body TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_ms INTEGER,
    -- NULL while it is owed.
    done_ms INTEGER,
    outcome TEXT NOT NULL DEFAULT '',
    UNIQUE (route, key)
) STRICT;
CREATE INDEX outbox_owed ON outbox (route, id) WHERE done_ms IS NULL;

-- What another process asks for, such as `fleet-central alerts ack`.
CREATE TABLE command (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    body TEXT NOT NULL,
    -- NULL until it is done; then empty, or why it cannot be.
    result TEXT
) STRICT;
