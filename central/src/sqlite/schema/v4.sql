-- Schema version 4: every UTC has a bound and a source, and what is still to be dated is remembered.
-- utc_error_ms: the true UTC is at most so far away; NULL when nobody vouches for it.
-- utc_source: 0 none, 1 fake, 2 RTC, 3 NTP, 4 GNSS.
ALTER TABLE reading ADD COLUMN utc_error_ms INTEGER;
ALTER TABLE reading ADD COLUMN utc_source INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alerts ADD COLUMN utc_error_ms INTEGER;
ALTER TABLE alerts ADD COLUMN utc_source INTEGER NOT NULL DEFAULT 0;

-- Stamps of a boot whose rows are to be dated by its anchors.
CREATE TABLE to_date (
    device TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    from_ms INTEGER NOT NULL,
    to_ms INTEGER NOT NULL,
    PRIMARY KEY (device, boot_id, from_ms, to_ms)
) STRICT, WITHOUT ROWID;
INSERT INTO to_date
SELECT DISTINCT device, boot_id, 0, 4611686018427387904 FROM anchors WHERE source <> 'none';
DROP INDEX batches_undated;
