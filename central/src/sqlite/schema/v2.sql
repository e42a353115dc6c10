-- Schema version 2: anchors know their error, the quarantine counts repetitions, retention remembers what
-- it deleted.
ALTER TABLE anchors ADD COLUMN error_ms INTEGER NOT NULL DEFAULT 4294967295;

ALTER TABLE quarantine ADD COLUMN crc INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quarantine ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
CREATE INDEX quarantine_print ON quarantine (crc, device, reason);

CREATE TABLE expired (
    device TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    lane TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    PRIMARY KEY (device, epoch, lane, first_seq)
) STRICT, WITHOUT ROWID;
