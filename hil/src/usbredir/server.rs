//! The conversation with QEMU over its unix socket, on a thread of its own.
//!
//! Promises: one device, plugged in after the hellos; the bus is set to the world's time before each
//! transfer; the thread ends when QEMU closes the socket. A cancelled transfer is answered like any
//! other: QEMU drops answers whose id it no longer knows. The device goes behind the status of a message to a
//! chip, in one write with it: a transfer under way would end an emulated Raspberry Pi, whose USB controller
//! asserts that its device is there, and a message from a chip would take along what the chip has handed out.
//! Never: a packet that was not asked for.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::Context;

use super::adapter::{Adapter, PRODUCT, VENDOR, VERSION_BCD};
use super::wire::{Packet, WireError, hello, kind, read_hello};
use crate::clock::Stopwatch;

/// A device that is being shown to a guest.
#[derive(Debug)]
pub struct Redirection {
    thread: JoinHandle<Result<u64, WireError>>,
    writer: Arc<Mutex<UnixStream>>,
    is_leaving: Arc<AtomicBool>,
}

impl Redirection {
    /// Shows `adapter` on a connected socket. `tick` is called before each transfer with the
    /// milliseconds since `since`.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        socket: UnixStream,
        adapter: Adapter,
        since: Stopwatch,
        tick: impl Fn(u64) + Send + 'static,
    ) -> anyhow::Result<Self> {
        let writer = Arc::new(Mutex::new(socket.try_clone()?));
        let answers = Arc::clone(&writer);
        let is_leaving = Arc::new(AtomicBool::new(false));
        let leaves = Arc::clone(&is_leaving);
        let thread = thread::Builder::new()
            .name("usb-adapter".to_owned())
            .spawn(move || {
                let mut socket = socket;
                let tick = || tick(since.elapsed_ms());
                serve(&mut socket, &answers, adapter, &leaves, tick)
            })
            .context("start the thread of the USB adapter")?;
        Ok(Self {
            thread,
            writer,
            is_leaving,
        })
    }

    /// Pulls the adapter out while the guest runs, behind the guest's next message to a chip.
    pub fn unplug(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn plug_in(&self) -> anyhow::Result<()> {
        let mut writer = locked(&self.writer);
        for packet in plug_in() {
            packet.write(&mut *writer)?;
        }
        Ok(())
    }

    /// Waits for the end of the conversation; how many I2C messages it had.
    ///
    /// # Errors
    /// When the conversation ended in an error.
    pub fn join(self) -> anyhow::Result<u64> {
        let ended = self
            .thread
            .join()
            .map_err(|_| anyhow::anyhow!("the USB adapter's thread panicked"))?;
        Ok(ended?)
    }
}

/// Packets are whole whoever panicked.
fn locked<W>(writer: &Mutex<W>) -> MutexGuard<'_, W> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Speaks until the peer closes the socket; how many I2C messages there were.
fn serve(
    reader: &mut impl Read,
    writer: &Mutex<impl Write>,
    mut adapter: Adapter,
    is_leaving: &AtomicBool,
    tick: impl Fn(),
) -> Result<u64, WireError> {
    locked(writer).write_all(&hello())?;
    read_hello(reader)?;
    for packet in plug_in() {
        packet.write(&mut *locked(writer))?;
    }
    let mut device = Device {
        configuration: 1,
        alt: 0,
    };
    loop {
        let packet = match Packet::read(reader) {
            Ok(Some(packet)) => packet,
            // A power cut kills QEMU in the middle of a packet, too.
            Ok(None) | Err(WireError::Io(_)) => return Ok(adapter.messages()),
            Err(error) => return Err(error),
        };
        tick();
        if let Some(answer) = device.answer(&packet, &mut adapter)? {
            let mut bytes = Vec::new();
            answer.write(&mut bytes)?;
            if may_leave(&packet, &adapter) && is_leaving.swap(false, Ordering::Relaxed) {
                gone().write(&mut bytes)?;
            }
            if locked(writer).write_all(&bytes).is_err() {
                return Ok(adapter.messages());
            }
        }
    }
}

fn may_leave(packet: &Packet, adapter: &Adapter) -> bool {
    packet.kind == kind::CONTROL
        && packet
            .control()
            .is_ok_and(|(control, _)| adapter.may_leave(&control))
}

fn gone() -> Packet {
    Packet {
        kind: kind::DEVICE_DISCONNECT,
        id: 0,
        body: Vec::new(),
    }
}

struct Device {
    configuration: u8,
    alt: u8,
}

impl Device {
    fn answer(
        &mut self,
        packet: &Packet,
        adapter: &mut Adapter,
    ) -> Result<Option<Packet>, WireError> {
        let reply = |kind, body| {
            Some(Packet {
                kind,
                id: packet.id,
                body,
            })
        };
        let short = || WireError::Short {
            kind: packet.kind,
            len: packet.body.len(),
        };
        Ok(match packet.kind {
            kind::SET_CONFIGURATION => {
                self.configuration = *packet.body.first().ok_or_else(short)?;
                reply(kind::CONFIGURATION_STATUS, vec![0, self.configuration])
            }
            kind::GET_CONFIGURATION => {
                reply(kind::CONFIGURATION_STATUS, vec![0, self.configuration])
            }
            kind::SET_ALT_SETTING => {
                self.alt = *packet.body.get(1).ok_or_else(short)?;
                reply(kind::ALT_SETTING_STATUS, vec![0, 0, self.alt])
            }
            kind::GET_ALT_SETTING => reply(kind::ALT_SETTING_STATUS, vec![0, 0, self.alt]),
            kind::CONTROL => {
                let (control, data) = packet.control()?;
                let (status, done, data) = adapter.control(control, data).parts(control.length);
                Some(packet.answer(control, status, done, &data))
            }
            kind::RESET
            | kind::CANCEL_DATA
            | kind::FILTER_REJECT
            | kind::FILTER_FILTER
            | kind::DEVICE_DISCONNECT_ACK => None,
            _ => {
                return Err(WireError::Peer {
                    what: "sent a packet that is not for this device",
                });
            }
        })
    }
}

/// Interfaces, endpoints and the connect, in the order that QEMU asks for.
fn plug_in() -> [Packet; 3] {
    const SLOTS: usize = 32;
    const VENDOR_CLASS: u8 = 0xff;
    const INVALID: u8 = 255;
    const EP0_PACKET_LEN: u16 = 8;
    const FULL_SPEED: u8 = 1;

    let mut interfaces = 1_u32.to_le_bytes().to_vec();
    let mut class = [0; SLOTS];
    let [first, ..] = &mut class;
    *first = VENDOR_CLASS;
    interfaces.extend([0; SLOTS]);
    interfaces.extend(class);
    interfaces.extend([0; 2 * SLOTS]);

    // Slots 0 to 15 go to the device, 16 to 31 come from it; only the two control ones exist.
    let control = |slot: usize| slot.is_multiple_of(16);
    let mut endpoints: Vec<u8> = (0..SLOTS)
        .map(|slot| if control(slot) { 0 } else { INVALID })
        .collect();
    endpoints.extend([0; 2 * SLOTS]);
    for slot in 0..SLOTS {
        let len = if control(slot) { EP0_PACKET_LEN } else { 0 };
        endpoints.extend(len.to_le_bytes());
    }

    let mut connect = vec![FULL_SPEED, VENDOR_CLASS, 0, 0];
    for word in [VENDOR, PRODUCT, VERSION_BCD] {
        connect.extend(word.to_le_bytes());
    }
    [
        (kind::INTERFACE_INFO, interfaces),
        (kind::EP_INFO, endpoints),
        (kind::DEVICE_CONNECT, connect),
    ]
    .map(|(kind, body)| Packet { kind, id: 0, body })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use sensor_drivers::sim::SimBus;
    use sensor_drivers::sim::truth::TruthFile;

    use super::*;

    fn talk(packets: &[Packet]) -> (Vec<Packet>, Result<u64, WireError>, u64) {
        let mut says = hello();
        for packet in packets {
            packet.write(&mut says).unwrap();
        }
        let hears = Mutex::new(Vec::new());
        let ticks = Cell::new(0);
        let bus = SimBus::new(0, TruthFile::none());
        let stays = AtomicBool::new(false);
        let ended = serve(
            &mut says.as_slice(),
            &hears,
            Adapter::new(bus),
            &stays,
            || ticks.set(ticks.get() + 1),
        );
        let heard = hears.into_inner().unwrap();
        let mut heard = heard.as_slice();
        read_hello(&mut heard).unwrap();
        let mut packets = Vec::new();
        while let Some(packet) = Packet::read(&mut heard).unwrap() {
            packets.push(packet);
        }
        (packets, ended, ticks.get())
    }

    fn packet(kind: u32, id: u64, body: &[u8]) -> Packet {
        Packet {
            kind,
            id,
            body: body.to_vec(),
        }
    }

    #[test]
    fn the_device_is_described_before_it_is_connected() {
        let (heard, ended, _) = talk(&[]);
        assert_eq!(ended.unwrap(), 0);
        let shape: Vec<(u32, usize)> = heard.iter().map(|p| (p.kind, p.body.len())).collect();
        assert_eq!(shape, [(4, 132), (5, 160), (1, 10)]);
        assert_eq!(heard[0].body[36], 0xff);
        assert_eq!(
            (heard[1].body[0], heard[1].body[1], heard[1].body[16]),
            (0, 255, 0)
        );
        assert_eq!(
            heard[2].body,
            [1, 0xff, 0, 0, 0x03, 0x04, 0x31, 0xc6, 0x05, 0x02]
        );
    }

    #[test]
    fn configuration_and_alternate_setting_are_remembered() {
        let says = [
            packet(6, 3, &[1]),
            packet(7, 4, &[]),
            packet(9, 5, &[0, 2]),
            packet(10, 6, &[0]),
        ];
        let (heard, ended, _) = talk(&says);
        assert!(ended.is_ok());
        let answers = &heard[3..];
        assert_eq!(answers[0], packet(8, 3, &[0, 1]));
        assert_eq!(answers[1], packet(8, 4, &[0, 1]));
        assert_eq!(answers[2], packet(11, 5, &[0, 0, 2]));
        assert_eq!(answers[3], packet(11, 6, &[0, 0, 2]));
    }

    #[test]
    fn each_transfer_sees_the_time_of_the_world_and_a_nak_of_an_empty_bus() {
        let write = packet(100, 7, &[0, 7, 0x41, 0, 0, 0, 0x48, 0, 1, 0, 0xaa]);
        let status = packet(100, 8, &[0x80, 3, 0xc1, 0, 0, 0, 0, 0, 1, 0]);
        let (heard, ended, ticks) = talk(&[write, status]);
        assert_eq!((ended.unwrap(), ticks), (1, 2));
        assert_eq!(
            heard[3],
            packet(100, 7, &[0, 7, 0x41, 0, 0, 0, 0x48, 0, 1, 0])
        );
        assert_eq!(
            heard[4],
            packet(100, 8, &[0x80, 3, 0xc1, 0, 0, 0, 0, 0, 1, 0, 2])
        );
    }

    #[test]
    fn a_reset_needs_no_answer_and_an_unknown_packet_ends_the_conversation() {
        let (heard, ended, _) = talk(&[packet(3, 0, &[]), packet(21, 9, &[])]);
        assert_eq!((heard.len(), ended.is_ok()), (3, true));
        let (_, ended, _) = talk(&[packet(101, 1, &[0; 8])]);
        assert!(matches!(ended, Err(WireError::Peer { .. })));
    }

    #[test]
    fn a_guest_that_loses_its_power_in_the_middle_of_a_packet_is_not_an_error() {
        let mut says = hello();
        says.extend([100, 0, 0]);
        let hears = Mutex::new(Vec::new());
        let bus = SimBus::new(0, TruthFile::none());
        let stays = AtomicBool::new(false);
        let ended = serve(
            &mut says.as_slice(),
            &hears,
            Adapter::new(bus),
            &stays,
            || (),
        );
        assert_eq!(ended.unwrap(), 0);
    }

    #[test]
    fn an_adapter_is_pulled_out_behind_a_message_to_a_chip_and_plugged_in() {
        /// Vendor request 3 from the device, one byte.
        const STATUS: [u8; 10] = [0x80, 3, 0xc0, 0, 0, 0, 0, 0, 1, 0];
        const READ: [u8; 10] = [0x80, 7, 0xc1, 0, 1, 0, 0x48, 0, 1, 0];
        const WRITE: [u8; 11] = [0, 7, 0x41, 0, 0, 0, 0x48, 0, 1, 0, 0xaa];
        let (ours, mut guest) = UnixStream::pair().unwrap();
        let bus = SimBus::new(0, TruthFile::none());
        let shown =
            Redirection::start(ours, Adapter::new(bus), Stopwatch::start(), |_| ()).unwrap();
        guest.write_all(&hello()).unwrap();
        read_hello(&mut guest).unwrap();
        let mut asks = guest.try_clone().unwrap();
        let mut next = || Packet::read(&mut guest).unwrap().unwrap().kind;
        assert_eq!([next(), next(), next()], [4, 5, 1]);
        shown.unplug();
        // What a chip hands out is the guest's: the adapter stays for it, and for all that is no message.
        let mut functions = STATUS;
        functions[1] = 1;
        let asked = [&functions[..], &READ, &STATUS, &WRITE, &STATUS];
        for (id, body) in asked.into_iter().enumerate() {
            packet(kind::CONTROL, id as u64, body)
                .write(&mut asks)
                .unwrap();
        }
        assert_eq!(
            [next(), next(), next(), next(), next(), next()],
            [100, 100, 100, 100, 100, 2]
        );
        shown.plug_in().unwrap();
        assert_eq!([next(), next(), next()], [4, 5, 1]);
        drop((guest, asks));
        assert_eq!(shown.join().unwrap(), 2);
    }
}
