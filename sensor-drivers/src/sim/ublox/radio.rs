//! What happens to the antenna and on the bands of a simulated receiver, and how it says so.
//!
//! Promises: messages of the generation, with the state of the moment. Never: known leap seconds
//! before the receiver knows the time.

use crate::sim::Window;
use crate::ubx::{self, status};

/// Spans of virtual time.
#[derive(Debug, Clone, Default)]
pub struct Radio {
    /// The antenna cable is cut.
    pub antenna_open: Vec<Window>,
    /// Somebody jams.
    pub jammed: Vec<Window>,
    /// Somebody spoofs.
    pub spoofed: Vec<Window>,
}

/// GPS time minus UTC since 2017.
const LEAP_S: u8 = 18;

impl Radio {
    pub(super) fn messages(
        &self,
        (due, older): ([bool; 4], bool),
        at_ms: u64,
        time_known: bool,
    ) -> Vec<u8> {
        let on = |windows: &[Window]| windows.iter().any(|window| window.contains(at_ms));
        let antenna = if on(&self.antenna_open) { 4 } else { 2 };
        let jamming = if on(&self.jammed) { 3 } else { 1 };
        let spoofing = if on(&self.spoofed) { 2 } else { 1 };
        let [leap, radio, security, navigation] = due;
        let mut bytes = Vec::new();
        if leap {
            let mut payload = [0; 24];
            let source = if time_known { 2 } else { 0 };
            payload[8..10].copy_from_slice(&[source, LEAP_S]);
            payload[23] = u8::from(time_known);
            bytes.extend(frame(ubx::CLASS_NAV, status::ID_NAV_TIMELS, &payload));
        }
        if radio && older {
            let mut payload = [0; 60];
            payload[20] = antenna;
            payload[22] = jamming << 2;
            bytes.extend(frame(status::CLASS_MON, status::ID_MON_HW, &payload));
        } else if radio {
            let mut payload = [0; 28];
            payload[1] = 1;
            payload[5] = jamming;
            payload[6] = antenna;
            bytes.extend(frame(status::CLASS_MON, status::ID_MON_RF, &payload));
        }
        if security {
            let flags = 0b1001 | 1 << 1 | spoofing << 4;
            let payload = [2, flags, 0, 0];
            bytes.extend(frame(status::CLASS_SEC, status::ID_SEC_SIG, &payload));
        }
        if navigation {
            let mut payload = [0; 16];
            payload[7] = spoofing << 3;
            bytes.extend(frame(ubx::CLASS_NAV, status::ID_NAV_STATUS, &payload));
        }
        bytes
    }
}

fn frame(class: u8, id: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut frame = vec![0xb5, 0x62, class, id];
    frame.extend(len.to_le_bytes());
    frame.extend(payload);
    let sums = ubx::checksum(frame.get(2..).unwrap_or_default());
    frame.extend(sums);
    frame
}
