-- Schema version 3: where a sensor sits, and until when its calibration counts (a date, or NULL).
ALTER TABLE catalogues ADD COLUMN compartment TEXT NOT NULL DEFAULT '';
ALTER TABLE catalogues ADD COLUMN calibration_until TEXT;
