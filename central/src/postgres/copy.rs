//! Rows in PostgreSQL's binary COPY format.
//!
//! ```text
//!  "PGCOPY\n\xff\r\n\0" | flags u32 | extension u32 | rows ... | -1 i16
//!  row: fields i16 | per field: length i32 (-1: NULL) | bytes, big-endian
//! ```
//! Promises: what is written is a whole number of rows. Never: a conversion; each value has its column's width.

use bytes::{BufMut, Bytes, BytesMut};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Rows on their way into one table.
#[derive(Debug)]
pub(super) struct CopyRows {
    bytes: BytesMut,
    rows: u64,
}

impl CopyRows {
    pub(super) fn new() -> Self {
        let mut bytes = BytesMut::new();
        bytes.put_slice(SIGNATURE);
        bytes.put_u64(0);
        Self { bytes, rows: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Begins a row of so many fields.
    pub(super) fn row(&mut self, fields: i16) {
        self.rows += 1;
        self.bytes.put_i16(fields);
    }

    pub(super) fn int2(&mut self, value: i16) {
        self.bytes.put_i32(2);
        self.bytes.put_i16(value);
    }

    pub(super) fn int4(&mut self, value: Option<i32>) {
        match value {
            Some(value) => {
                self.bytes.put_i32(4);
                self.bytes.put_i32(value);
            }
            None => self.bytes.put_i32(-1),
        }
    }

    pub(super) fn int8(&mut self, value: Option<i64>) {
        match value {
            Some(value) => {
                self.bytes.put_i32(8);
                self.bytes.put_i64(value);
            }
            None => self.bytes.put_i32(-1),
        }
    }

    pub(super) fn float8(&mut self, value: Option<f64>) {
        match value {
            Some(value) => {
                self.bytes.put_i32(8);
                self.bytes.put_f64(value);
            }
            None => self.bytes.put_i32(-1),
        }
    }

    /// Bytes shorter than 2 GiB.
    pub(super) fn bytea(&mut self, value: Option<&[u8]>) {
        let value = value.and_then(|value| Some((i32::try_from(value.len()).ok()?, value)));
        match value {
            Some((len, value)) => {
                self.bytes.put_i32(len);
                self.bytes.put_slice(value);
            }
            None => self.bytes.put_i32(-1),
        }
    }

    /// The whole stream.
    pub(super) fn finish(mut self) -> Bytes {
        self.bytes.put_i16(-1);
        self.bytes.freeze()
    }
}
