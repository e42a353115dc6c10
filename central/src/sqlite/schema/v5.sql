-- Schema version 5: the order in which alerts were committed, and what each device said about itself last.
CREATE TABLE alert_feed (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO alert_feed (device, epoch, seq)
SELECT device, epoch, seq FROM alerts ORDER BY received_ms, device, epoch, seq;

-- `json` has the keys of the status message.
CREATE TABLE statuses (
    device TEXT PRIMARY KEY,
    received_ms INTEGER NOT NULL,
    json TEXT NOT NULL
) STRICT, WITHOUT ROWID;
