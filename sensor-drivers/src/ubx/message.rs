//! Writing messages to a receiver.
//!
//! Promises: complete, from the sync bytes to the checksum. Never: one that would fit only by
//! truncation.

use super::{
    CLASS_CFG, CLASS_NAV, ID_CFG_MSG, ID_CFG_PRT, ID_CFG_RATE, ID_CFG_VALSET, ID_NAV_PVT, checksum,
};

/// The longest message this crate writes.
pub const MESSAGE_LEN_MAX: usize = 64;

/// A complete message, ready for the bus.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    bytes: [u8; MESSAGE_LEN_MAX],
    len: usize,
}

impl Message {
    /// A message of `class` and `id` around `payload` parts; `None` when it is too long.
    #[must_use]
    pub fn new(class: u8, id: u8, parts: &[&[u8]]) -> Option<Self> {
        let payload_len = u16::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).ok()?;
        let [len_low, len_high] = payload_len.to_le_bytes();
        let mut message = Self {
            bytes: [0; MESSAGE_LEN_MAX],
            len: 0,
        };
        message.append(&[0xb5, 0x62, class, id, len_low, len_high])?;
        for part in parts {
            message.append(part)?;
        }
        let sums = checksum(message.as_bytes().get(2..)?);
        message.append(&sums)?;
        Some(message)
    }

    /// The bytes, from the first sync byte to the checksum.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// CFG-VALSET into RAM of one key for each value, whose size the key itself states.
    #[must_use]
    pub fn cfg_valset(items: &[(u32, u16)]) -> Option<Self> {
        // Version 0, layer RAM: a configuration that outlives a power cut would outlive the
        // gateway, too, and surprise whoever uses the receiver next.
        let mut payload = Self {
            bytes: [0; MESSAGE_LEN_MAX],
            len: 0,
        };
        payload.append(&[0, 1, 0, 0])?;
        for (key, value) in items {
            payload.append(&key.to_le_bytes())?;
            let [low, high] = value.to_le_bytes();
            match key >> 28 {
                1 | 2 if high == 0 => payload.append(&[low])?,
                3 => payload.append(&[low, high])?,
                _ => return None,
            }
        }
        Self::new(CLASS_CFG, ID_CFG_VALSET, &[payload.as_bytes()])
    }

    /// CFG-PRT for the I2C port: own address, UBX and NMEA in, and the given protocols out.
    #[must_use]
    pub fn cfg_prt_i2c(address: u8, nmea_out: bool) -> Option<Self> {
        let out = if nmea_out { 3 } else { 1 };
        let payload = [
            0,
            0,
            0,
            0,
            address << 1,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            3,
            0,
            out,
            0,
            0,
            0,
            0,
            0,
        ];
        Self::new(CLASS_CFG, ID_CFG_PRT, &[&payload])
    }

    /// CFG-MSG: NAV-PVT with every epoch on the port this message arrives at.
    #[must_use]
    pub fn cfg_msg_nav_pvt() -> Option<Self> {
        Self::cfg_msg(CLASS_NAV, ID_NAV_PVT, 1)
    }

    /// CFG-MSG: a message with each `every_epochs`-th epoch on the port this message arrives at.
    #[must_use]
    pub fn cfg_msg(class: u8, id: u8, every_epochs: u8) -> Option<Self> {
        Self::new(CLASS_CFG, ID_CFG_MSG, &[&[class, id, every_epochs]])
    }

    /// CFG-RATE: one navigation solution every `period_ms`, aligned to GPS time.
    #[must_use]
    pub fn cfg_rate(period_ms: u16) -> Option<Self> {
        let payload = [period_ms.to_le_bytes(), [1, 0], [1, 0]];
        Self::new(CLASS_CFG, ID_CFG_RATE, &[payload.as_flattened()])
    }

    fn append(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.bytes.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }
}
