//! Links the shared crates into a freestanding library: any use of std would bring a second panic
//! handler, any use of a heap would ask for a global allocator that is not there.
#![no_std]

use core::panic::PanicInfo;

use embedded_hal::i2c::{ErrorType, I2c, NoAcknowledgeSource, Operation};
use firmware_shared::batch::{self, Batch, SealParams};
use firmware_shared::have_set::BoundedHaveSet;
use firmware_shared::id::{Epoch, Lane, SeqRange};
use firmware_shared::message::{Ack, Message};
use firmware_shared::reading::{Reading, Score, Value};
use firmware_shared::serial;
use firmware_shared::units::Celsius128;

#[panic_handler]
fn stop(_: &PanicInfo<'_>) -> ! {
    loop {}
}

struct DeadBus;

#[derive(Debug)]
struct NoAnswer;

impl embedded_hal::i2c::Error for NoAnswer {
    fn kind(&self) -> embedded_hal::i2c::ErrorKind {
        embedded_hal::i2c::ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address)
    }
}

impl sensor_drivers::error::ClassifyBus for NoAnswer {
    fn class(&self) -> sensor_drivers::error::BusClass {
        sensor_drivers::error::BusClass::NoAck
    }
}

impl ErrorType for DeadBus {
    type Error = NoAnswer;
}

impl I2c for DeadBus {
    fn transaction(&mut self, _: u8, _: &mut [Operation<'_>]) -> Result<(), NoAnswer> {
        Err(NoAnswer)
    }
}

/// Reads a part, seals the reading, opens the batch, keeps account and frames it for a serial line.
#[unsafe(no_mangle)]
pub extern "C" fn fleet_no_std_proof(stamp_ms: u64) -> u32 {
    let mut thermometer = sensor_drivers::tmp117::Tmp117::new(DeadBus, 0x48);
    let identified = thermometer.identify().is_ok();
    let mut receiver = sensor_drivers::ublox::Ublox::new(DeadBus, 0x42);
    let mut fixes = 0u32;
    let polled = receiver.poll(stamp_ms, &mut |_| fixes += 1).is_ok();

    let epoch = Epoch::from_random(stamp_ms);
    let params = SealParams { epoch, lane: Lane::Telemetry, first_seq: 0, anchor: None };
    let value = Value::Temperature(Celsius128(stamp_ms as i32));
    let reading = Reading { stamp_ms, sensor: 0, score: Score(0), value };
    let mut sealed = [0; 256];
    let len = batch::seal(&params, &[reading], &mut sealed).unwrap_or(0);
    let decoded = sealed
        .get(..len)
        .and_then(|bytes| Batch::open(bytes).ok())
        .and_then(|batch| batch.readings().ok().map(Iterator::count))
        .unwrap_or(0);

    let mut held = BoundedHaveSet::<16>::default();
    let added = SeqRange::from_count(stamp_ms, 3).map_or(0, |range| held.insert(range).unwrap_or(0));
    let mut frame = [0; serial::FRAME_LEN_MAX];
    let framed = serial::encode(1, &sealed, &mut frame).unwrap_or(0);
    let ack = Ack::decode(&sealed).is_ok();
    fixes + decoded as u32 + added as u32 + framed as u32 + u32::from(identified || polled || ack)
}
