//! An `i2c-tiny-usb` adapter over the simulated bus.
//!
//! Promises: answers the requests of the kernel's `i2c-tiny-usb` driver as the adapter's firmware does;
//! each I2C request is one message on the bus; a failed message is reported as a NAK when the driver asks
//! for the status. Never: a message with no bytes (the kernel driver refuses those before they get here).

use sensor_drivers::sim::SimBus;

use super::wire::{Control, Status};

/// USB vendor of the adapter that the kernel driver knows.
pub const VENDOR: u16 = 0x0403;
/// USB product of the adapter that the kernel driver knows.
pub const PRODUCT: u16 = 0xc631;
/// Device version, binary coded decimal.
pub const VERSION_BCD: u16 = 0x0205;

/// Plain I2C transfers and the SMBus commands that the kernel emulates with them.
const FUNCTIONS: u32 = 0x0eff_0009;
const FROM_DEVICE: u8 = 0x80;
const TYPE_MASK: u8 = 0x60;
const TYPE_VENDOR: u8 = 0x40;
const MESSAGE_IS_READ: u16 = 1;

mod command {
    pub(super) const ECHO: u8 = 0;
    pub(super) const FUNCTIONS: u8 = 1;
    pub(super) const SET_DELAY: u8 = 2;
    pub(super) const STATUS: u8 = 3;
    pub(super) const MESSAGE: u8 = 4;
    pub(super) const MESSAGE_LAST: u8 = 7;
}

mod standard {
    pub(super) const GET_STATUS: u8 = 0;
    pub(super) const CLEAR_FEATURE: u8 = 1;
    pub(super) const SET_FEATURE: u8 = 3;
    pub(super) const GET_DESCRIPTOR: u8 = 6;
}

/// What the last I2C message came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Acknowledge {
    Idle = 0,
    Ack = 1,
    Nak = 2,
}

/// The adapter: the bus behind it and the outcome of the last message.
#[derive(Debug)]
pub struct Adapter {
    bus: SimBus,
    last: Acknowledge,
    /// Whether the last message came from the guest, so that no chip handed anything out in it.
    wrote: bool,
    messages: u64,
}

/// The answer to one control transfer.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// Data for a transfer from the device.
    Data(Vec<u8>),
    /// A transfer to the device is done.
    Taken,
    /// The device does not know the request.
    Stall,
}

impl Reply {
    /// Status, bytes done and data as they go on the wire; never more than was asked for.
    #[must_use]
    pub fn parts(mut self, asked: u16) -> (Status, u16, Vec<u8>) {
        match &mut self {
            Self::Stall => (Status::Stall, 0, Vec::new()),
            Self::Taken => (Status::Success, asked, Vec::new()),
            Self::Data(data) => {
                data.truncate(usize::from(asked));
                let done = u16::try_from(data.len()).unwrap_or(asked);
                (Status::Success, done, std::mem::take(data))
            }
        }
    }
}

impl Adapter {
    /// An adapter that has just been plugged in.
    #[must_use]
    pub fn new(bus: SimBus) -> Self {
        Self {
            bus,
            last: Acknowledge::Idle,
            wrote: false,
            messages: 0,
        }
    }

    /// How many I2C messages the guest has sent.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Whether the adapter can go behind this request without taking along what a chip has handed out: it asks
    /// what a message to a chip came to, the driver's last word about it.
    #[must_use]
    pub fn may_leave(&self, control: &Control) -> bool {
        let is_status =
            control.request_type & TYPE_MASK == TYPE_VENDOR && control.request == command::STATUS;
        is_status && self.wrote
    }

    /// One control transfer on endpoint 0.
    pub fn control(&mut self, control: Control, data: &[u8]) -> Reply {
        if control.request_type & TYPE_MASK == TYPE_VENDOR {
            return self.vendor(control, data);
        }
        match (control.request, control.request_type & FROM_DEVICE != 0) {
            (standard::GET_DESCRIPTOR, true) => descriptor(control.value),
            (standard::GET_STATUS, true) => Reply::Data(vec![0, 0]),
            (standard::CLEAR_FEATURE | standard::SET_FEATURE, false) => Reply::Taken,
            _ => Reply::Stall,
        }
    }

    fn vendor(&mut self, control: Control, data: &[u8]) -> Reply {
        match control.request {
            command::ECHO => Reply::Data(control.value.to_le_bytes().to_vec()),
            command::FUNCTIONS => Reply::Data(FUNCTIONS.to_le_bytes().to_vec()),
            command::SET_DELAY => Reply::Taken,
            command::STATUS => Reply::Data(vec![self.last as u8]),
            command::MESSAGE..=command::MESSAGE_LAST => self.message(control, data),
            _ => Reply::Stall,
        }
    }

    fn message(&mut self, control: Control, data: &[u8]) -> Reply {
        self.messages += 1;
        let read = control.value & MESSAGE_IS_READ != 0;
        self.wrote = !read;
        let mut into = vec![0; if read { usize::from(control.length) } else { 0 }];
        let outcome = match u8::try_from(control.index) {
            Ok(address) if read => self.bus.message_read(address, &mut into).is_ok(),
            Ok(address) => self.bus.message_write(address, data).is_ok(),
            // A ten-bit address: nobody lives there.
            Err(_) => false,
        };
        self.last = if outcome {
            Acknowledge::Ack
        } else {
            Acknowledge::Nak
        };
        // The driver wants the whole length even after a NAK and asks for the status next.
        if read {
            Reply::Data(into)
        } else {
            Reply::Taken
        }
    }
}

fn descriptor(value: u16) -> Reply {
    let [index, kind] = value.to_le_bytes();
    match (kind, index) {
        (1, _) => Reply::Data(device_descriptor()),
        (2, _) => Reply::Data(CONFIGURATION.to_vec()),
        (3, 0) => Reply::Data(vec![4, 3, 0x09, 0x04]),
        (3, 1) => Reply::Data(text("Fleet")),
        (3, 2) => Reply::Data(text("i2c-tiny-usb")),
        _ => Reply::Stall,
    }
}

fn device_descriptor() -> Vec<u8> {
    // USB 1.1, vendor class, packets of 8 bytes on endpoint 0; manufacturer, product; one configuration.
    let mut bytes = vec![18, 1, 0x10, 0x01, 0xff, 0, 0, 8];
    bytes.extend(VENDOR.to_le_bytes());
    bytes.extend(PRODUCT.to_le_bytes());
    bytes.extend(VERSION_BCD.to_le_bytes());
    bytes.extend([1, 2, 0, 1]);
    bytes
}

/// One configuration with one vendor interface without endpoints.
const CONFIGURATION: [u8; 18] = [9, 2, 18, 0, 1, 1, 0, 0x80, 50, 9, 4, 0, 0, 0, 0xff, 0, 0, 0];

fn text(words: &str) -> Vec<u8> {
    let units: Vec<u8> = words.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let len = u8::try_from(units.len() + 2).unwrap_or(2);
    [vec![len, 3], units].concat()
}

#[cfg(test)]
mod tests {
    use sensor_drivers::sim::truth::TruthFile;
    use sensor_drivers::sim::{SimBusError, SimChip};

    use super::*;

    /// Two registers behind a pointer.
    #[derive(Debug)]
    struct Registers {
        pointer: u8,
        bytes: [u8; 4],
    }

    impl SimChip for Registers {
        fn write(&mut self, _now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError> {
            self.pointer = bytes[0];
            for (to, from) in self.bytes[usize::from(bytes[0])..]
                .iter_mut()
                .zip(&bytes[1..])
            {
                *to = *from;
            }
            Ok(())
        }

        fn read(
            &mut self,
            _now_ms: u64,
            into: &mut [u8],
            _truth: &mut TruthFile,
        ) -> Result<(), SimBusError> {
            into.copy_from_slice(&self.bytes[usize::from(self.pointer)..][..into.len()]);
            Ok(())
        }
    }

    fn adapter() -> Adapter {
        let bus = SimBus::new(0, TruthFile::none());
        bus.attach(
            0x48,
            Box::new(Registers {
                pointer: 0,
                bytes: [1, 2, 3, 4],
            }),
            Vec::new(),
        );
        Adapter::new(bus)
    }

    fn control(request_type: u8, request: u8, value: u16, index: u16, length: u16) -> Control {
        let endpoint = request_type & FROM_DEVICE;
        Control {
            endpoint,
            request,
            request_type,
            status: 0,
            value,
            index,
            length,
        }
    }

    fn status(adapter: &mut Adapter) -> Reply {
        adapter.control(control(0xc1, 3, 0, 0, 1), &[])
    }

    #[test]
    fn a_write_then_read_of_the_guest_are_two_messages_with_its_bytes() {
        let mut adapter = adapter();
        let asks = control(0xc1, 3, 0, 0, 1);
        assert_eq!(status(&mut adapter), Reply::Data(vec![0]));
        assert!(!adapter.may_leave(&asks));
        let write = control(0x41, 5, 0, 0x48, 3);
        assert_eq!(adapter.control(write, &[1, 0xaa, 0xbb]), Reply::Taken);
        assert_eq!(status(&mut adapter), Reply::Data(vec![1]));
        let read = control(0xc1, 6, 1, 0x48, 2);
        assert!(adapter.may_leave(&asks) && !adapter.may_leave(&read));
        assert_eq!(adapter.control(read, &[]), Reply::Data(vec![0xaa, 0xbb]));
        assert_eq!(status(&mut adapter), Reply::Data(vec![1]));
        assert!(!adapter.may_leave(&asks));
        assert_eq!(adapter.messages(), 2);
    }

    #[test]
    fn an_address_without_a_chip_is_a_nak_with_the_full_length() {
        let mut adapter = adapter();
        assert_eq!(
            adapter.control(control(0xc1, 7, 1, 0x49, 3), &[]),
            Reply::Data(vec![0; 3])
        );
        assert_eq!(status(&mut adapter), Reply::Data(vec![2]));
        assert_eq!(
            adapter.control(control(0x41, 7, 0, 0x149, 1), &[0]),
            Reply::Taken
        );
        assert_eq!(status(&mut adapter), Reply::Data(vec![2]));
    }

    #[test]
    fn the_kernel_finds_the_adapter_by_its_descriptors() {
        let mut adapter = adapter();
        let device = adapter.control(control(0x80, 6, 0x0100, 0, 64), &[]);
        let Reply::Data(bytes) = device else {
            panic!("{device:?}")
        };
        assert_eq!(
            (bytes.len(), &bytes[8..12]),
            (18, &[0x03, 0x04, 0x31, 0xc6][..])
        );
        let configuration = adapter.control(control(0x80, 6, 0x0200, 0, 9), &[]);
        let (status, done, bytes) = configuration.parts(9);
        assert_eq!((status, done, bytes.len()), (Status::Success, 9, 9));
        let product = adapter.control(control(0x80, 6, 0x0302, 0x0409, 255), &[]);
        let Reply::Data(bytes) = product else {
            panic!("{product:?}")
        };
        assert_eq!(
            (usize::from(bytes[0]), &bytes[..4]),
            (bytes.len(), &[26, 3, b'i', 0][..])
        );
        let functions = adapter.control(control(0xc1, 1, 0, 0, 4), &[]);
        assert_eq!(functions, Reply::Data(vec![0x09, 0x00, 0xff, 0x0e]));
    }

    #[test]
    fn requests_that_the_firmware_does_not_know_stall() {
        let mut adapter = adapter();
        for (request_type, request, value) in
            [(0xc1, 8, 0), (0x80, 6, 0x0600), (0x80, 12, 0), (0x00, 7, 0)]
        {
            let reply = adapter.control(control(request_type, request, value, 0, 8), &[]);
            assert_eq!(
                reply,
                Reply::Stall,
                "{request_type:#x} {request} {value:#x}"
            );
        }
    }
}
