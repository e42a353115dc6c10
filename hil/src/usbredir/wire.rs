//! The bytes of the usbredir protocol, as far as a device with control transfers needs them.
//!
//! ```text
//! | type u32 | length u32 | id u32 in the hello, u64 behind it | body: `length` bytes |   little-endian
//! control body: | endpoint u8 | request u8 | request type u8 | status u8 |
//!               | value u16 | index u16 | length u16 | data |
//! ```
//!
//! Promises: arbitrary bytes from the peer end in an error, not in a panic or an allocation beyond
//! [`BODY_LEN_MAX`]. Never: a decision about what the device does.

use std::io::{self, Read, Write};

/// The longest body this device accepts: a control transfer has at most 64 KiB and ten bytes more.
pub const BODY_LEN_MAX: u32 = 65_546;

/// Kinds of packets that this device sends or understands.
pub mod kind {
    /// Versions and capabilities.
    pub const HELLO: u32 = 0;
    /// The device is plugged in.
    pub const DEVICE_CONNECT: u32 = 1;
    /// The device is pulled out.
    pub const DEVICE_DISCONNECT: u32 = 2;
    /// The guest resets the device.
    pub const RESET: u32 = 3;
    /// Interfaces of the configuration.
    pub const INTERFACE_INFO: u32 = 4;
    /// Endpoints of the configuration.
    pub const EP_INFO: u32 = 5;
    /// The guest chooses a configuration.
    pub const SET_CONFIGURATION: u32 = 6;
    /// The guest asks for the configuration.
    pub const GET_CONFIGURATION: u32 = 7;
    /// Answer to both.
    pub const CONFIGURATION_STATUS: u32 = 8;
    /// The guest chooses an alternate setting.
    pub const SET_ALT_SETTING: u32 = 9;
    /// The guest asks for the alternate setting.
    pub const GET_ALT_SETTING: u32 = 10;
    /// Answer to both.
    pub const ALT_SETTING_STATUS: u32 = 11;
    /// The guest gives a transfer up.
    pub const CANCEL_DATA: u32 = 21;
    /// The guest's filter refused the device.
    pub const FILTER_REJECT: u32 = 22;
    /// The guest's filter.
    pub const FILTER_FILTER: u32 = 23;
    /// The guest has seen the device go.
    pub const DEVICE_DISCONNECT_ACK: u32 = 24;
    /// A control transfer and its answer.
    pub const CONTROL: u32 = 100;
}

/// connect_device_version, ep_info_max_packet_size, 64bits_ids and 32bits_bulk_length; an xHCI of QEMU
/// refuses a device without the last one.
pub const CAPABILITIES: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6;
const CAPABILITY_64BITS_IDS: u32 = 1 << 5;
const VERSION_LEN: usize = 64;
const CONTROL_HEADER_LEN: usize = 10;

/// Why the conversation cannot go on.
#[derive(Debug)]
pub enum WireError {
    /// The socket failed or ended in the middle of a packet.
    Io(io::Error),
    /// A length that no packet to this device has.
    TooLong {
        /// Kind of the packet.
        kind: u32,
        /// The length it claims.
        len: u32,
    },
    /// A body that is shorter than its kind asks for.
    Short {
        /// Kind of the packet.
        kind: u32,
        /// Bytes that are there.
        len: usize,
    },
    /// The peer speaks, but not this protocol, or without 64-bit ids.
    Peer {
        /// What is wrong with it.
        what: &'static str,
    },
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the USB socket failed: {error}"),
            Self::TooLong { kind, len } => {
                write!(
                    f,
                    "a usbredir packet of kind {kind} has {len} bytes; at most {BODY_LEN_MAX} are allowed"
                )
            }
            Self::Short { kind, len } => {
                write!(f, "a usbredir packet of kind {kind} has only {len} bytes")
            }
            Self::Peer { what } => write!(f, "the usbredir peer {what}"),
        }
    }
}

impl std::error::Error for WireError {}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One packet behind the hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// One of [`kind`].
    pub kind: u32,
    /// Pairs answers with requests.
    pub id: u64,
    /// What follows the header.
    pub body: Vec<u8>,
}

/// A control transfer, without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// 0x00 to the device, 0x80 from it.
    pub endpoint: u8,
    /// bRequest.
    pub request: u8,
    /// bmRequestType.
    pub request_type: u8,
    /// 0 in a request; see [`Status`] in an answer.
    pub status: u8,
    /// wValue.
    pub value: u16,
    /// wIndex.
    pub index: u16,
    /// wLength in a request; bytes done in an answer.
    pub length: u16,
}

/// How a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Success = 0,
    /// The device does not know this request.
    Stall = 4,
}

/// The hello of this side.
#[must_use]
pub fn hello() -> Vec<u8> {
    let mut version = [0; VERSION_LEN];
    for (to, from) in version.iter_mut().zip(b"fleet hil i2c adapter") {
        *to = *from;
    }
    let mut bytes = header(kind::HELLO, VERSION_LEN + 4);
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(version);
    bytes.extend(CAPABILITIES.to_le_bytes());
    bytes
}

/// Reads the peer's hello and refuses a peer without 64-bit ids.
///
/// # Errors
/// When the peer says something else.
pub fn read_hello(from: &mut impl Read) -> Result<(), WireError> {
    let (found, len) = (read_u32(from)?, read_u32(from)?);
    read_u32(from)?;
    if found != kind::HELLO {
        return Err(WireError::Peer {
            what: "did not begin with a hello",
        });
    }
    let body = read_body(from, found, len)?;
    let capabilities = body
        .get(VERSION_LEN..)
        .and_then(|rest| take_u32(&mut &*rest));
    match capabilities {
        Some(bits) if bits & CAPABILITY_64BITS_IDS != 0 => Ok(()),
        _ => Err(WireError::Peer {
            what: "does not offer 64-bit ids",
        }),
    }
}

impl Packet {
    /// The next packet; `None` when the peer has closed the socket between two packets.
    ///
    /// # Errors
    /// When the bytes are not a packet.
    pub fn read(from: &mut impl Read) -> Result<Option<Self>, WireError> {
        let mut first = [0];
        match from.read(&mut first) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut rest = [0; 3];
        from.read_exact(&mut rest)?;
        let [a] = first;
        let [b, c, d] = rest;
        let kind = u32::from_le_bytes([a, b, c, d]);
        let len = read_u32(from)?;
        let mut id = [0; 8];
        from.read_exact(&mut id)?;
        let body = read_body(from, kind, len)?;
        Ok(Some(Self {
            kind,
            id: u64::from_le_bytes(id),
            body,
        }))
    }

    /// Writes the packet with one call, so that no half packet is seen when this process is killed.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn write(&self, to: &mut impl Write) -> Result<(), WireError> {
        let mut bytes = header(self.kind, self.body.len());
        bytes.extend(self.id.to_le_bytes());
        bytes.extend(&self.body);
        to.write_all(&bytes)?;
        Ok(())
    }

    /// The control transfer in this packet and the data behind it.
    ///
    /// # Errors
    /// When the body is too short for one.
    pub fn control(&self) -> Result<(Control, &[u8]), WireError> {
        let short = || WireError::Short {
            kind: self.kind,
            len: self.body.len(),
        };
        let (head, data) = self
            .body
            .split_first_chunk::<CONTROL_HEADER_LEN>()
            .ok_or_else(short)?;
        let [
            endpoint,
            request,
            request_type,
            status,
            v0,
            v1,
            i0,
            i1,
            l0,
            l1,
        ] = *head;
        let control = Control {
            endpoint,
            request,
            request_type,
            status,
            value: u16::from_le_bytes([v0, v1]),
            index: u16::from_le_bytes([i0, i1]),
            length: u16::from_le_bytes([l0, l1]),
        };
        Ok((control, data))
    }

    /// The answer to a control transfer: `done` bytes moved, and the data that was asked for.
    #[must_use]
    pub fn answer(&self, control: Control, status: Status, done: u16, data: &[u8]) -> Self {
        let mut body = vec![
            control.endpoint,
            control.request,
            control.request_type,
            status as u8,
        ];
        body.extend(control.value.to_le_bytes());
        body.extend(control.index.to_le_bytes());
        body.extend(done.to_le_bytes());
        body.extend(data);
        Self {
            kind: self.kind,
            id: self.id,
            body,
        }
    }
}

fn header(kind: u32, len: usize) -> Vec<u8> {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    [kind.to_le_bytes(), len.to_le_bytes()].concat()
}

fn read_u32(from: &mut impl Read) -> Result<u32, WireError> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn take_u32(bytes: &mut &[u8]) -> Option<u32> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    Some(u32::from_le_bytes(*head))
}

fn read_body(from: &mut impl Read, kind: u32, len: u32) -> Result<Vec<u8>, WireError> {
    if len > BODY_LEN_MAX {
        return Err(WireError::TooLong { kind, len });
    }
    let mut body = vec![0; usize::try_from(len).unwrap_or(0)];
    from.read_exact(&mut body)?;
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hello_has_a_32_bit_id_and_offers_what_an_xhci_asks_for() {
        let bytes = hello();
        assert_eq!(bytes.len(), 12 + 68);
        assert_eq!(bytes[..12], [0, 0, 0, 0, 68, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[12..17], *b"fleet");
        assert_eq!(bytes[76..], [0b0111_0010, 0, 0, 0]);
        assert!(read_hello(&mut bytes.as_slice()).is_ok());
    }

    #[test]
    fn a_peer_without_64_bit_ids_or_without_a_hello_is_refused() {
        let mut old = hello();
        old[76] = 0b0101_0010;
        assert!(matches!(
            read_hello(&mut old.as_slice()),
            Err(WireError::Peer { .. })
        ));
        let mut other = hello();
        other[0] = 1;
        assert!(matches!(
            read_hello(&mut other.as_slice()),
            Err(WireError::Peer { .. })
        ));
    }

    #[test]
    fn a_control_packet_is_read_and_answered_byte_for_byte() {
        let mut bytes = vec![100, 0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([0, 7, 0x41, 0, 0, 0, 0x48, 0, 2, 0, 0x01, 0xaa]);
        let packet = Packet::read(&mut bytes.as_slice()).unwrap().unwrap();
        let (control, data) = packet.control().unwrap();
        let expected = Control {
            endpoint: 0,
            request: 7,
            request_type: 0x41,
            status: 0,
            value: 0,
            index: 0x48,
            length: 2,
        };
        assert_eq!((control, data), (expected, &[0x01, 0xaa][..]));
        let mut answer = Vec::new();
        packet
            .answer(control, Status::Success, 2, &[])
            .write(&mut answer)
            .unwrap();
        let mut head = vec![100, 0, 0, 0, 10, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        head.extend([0, 7, 0x41, 0, 0, 0, 0x48, 0, 2, 0]);
        assert_eq!(answer, head);
    }

    #[test]
    fn a_closed_socket_ends_the_conversation_and_half_a_packet_is_an_error() {
        assert!(matches!(Packet::read(&mut [].as_slice()), Ok(None)));
        for len in 1..16 {
            let bytes = vec![0; len];
            assert!(
                matches!(Packet::read(&mut bytes.as_slice()), Err(WireError::Io(_))),
                "{len}"
            );
        }
    }

    #[test]
    fn a_length_beyond_any_packet_is_refused_before_memory_is_taken() {
        let mut bytes = vec![100, 0, 0, 0];
        bytes.extend(u32::MAX.to_le_bytes());
        bytes.extend([0; 8]);
        let refused = Packet::read(&mut bytes.as_slice());
        assert!(matches!(
            refused,
            Err(WireError::TooLong {
                kind: 100,
                len: u32::MAX
            })
        ));
    }

    #[test]
    fn a_control_packet_without_its_header_is_refused() {
        let packet = Packet {
            kind: kind::CONTROL,
            id: 0,
            body: vec![0; 9],
        };
        assert!(matches!(
            packet.control(),
            Err(WireError::Short { kind: 100, len: 9 })
        ));
    }
}
