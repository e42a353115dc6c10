//! The twins beside the blocking drivers, on the same simulated world: the same answers, although
//! each bus call waits once.

extern crate std;
use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embedded_hal::i2c::{ErrorType, Operation};

use super::*;
use crate::sim::{Scenario, SimBus, SimBusError, SimWorld};

/// Each transaction is pending at its first poll.
#[derive(Debug)]
struct Slow(SimBus);

impl ErrorType for Slow {
    type Error = SimBusError;
}

impl I2c for Slow {
    async fn transaction(
        &mut self,
        address: u8,
        operations: &mut [Operation<'_>],
    ) -> Result<(), SimBusError> {
        let mut waited = false;
        core::future::poll_fn(|_| {
            if core::mem::replace(&mut waited, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        embedded_hal::i2c::I2c::transaction(&mut self.0, address, operations)
    }
}

/// The output, and how often the future waited.
fn run<F: Future>(future: F) -> (F::Output, u32) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    let mut waits = 0;
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return (output, waits),
            Poll::Pending => waits += 1,
        }
    }
}

fn world(chip: &str) -> SimBus {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scenario.toml");
    std::fs::write(&path, std::format!("[[chip]]\n{chip}\n")).unwrap();
    let SimWorld { bus, .. } = Scenario::load(&path, 0).unwrap();
    bus
}

/// Runs one minute of a thermometer, blocking and waiting, each on a world of its own.
macro_rules! same_minute {
    ($kind:literal, $address:literal, $driver:ident $(, $setting:expr)*) => {{
        let chip = std::format!(
            "kind = '{}'\naddress = {}\nbase_deg_c = -3.0\namplitude_deg_c = 9.0\n\
             period_s = 40.0\nevent = [{{ kind = 'unplug', at_s = 20.0, for_s = 3.0 }}]",
            $kind, $address
        );
        let (one, two) = (world(&chip), world(&chip));
        let mut blocking = $driver::new(one.clone(), $address $(, $setting)*);
        let mut waiting = super::$driver::new(Slow(two.clone()), $address $(, $setting)*);
        let (mut good, mut waits) = (0, 0);
        for now_ms in (0..60_000).step_by(100) {
            one.advance_to(now_ms);
            two.advance_to(now_ms);
            if now_ms % 10_000 == 0 || now_ms == 23_500 {
                let (started, waited) = run(waiting.start(now_ms));
                assert_eq!(blocking.start(now_ms), started, "{} {now_ms}", $kind);
                waits += waited;
            }
            let (fetched, waited) = run(waiting.fetch(now_ms));
            waits += waited;
            assert_eq!(blocking.fetch(now_ms), fetched, "{} {now_ms}", $kind);
            good += u32::from(fetched.is_ok());
        }
        assert!(good > 60 && waits > 200, "{}: {good} values, {waits} waits", $kind);
    }};
}

#[test]
fn every_thermometer_answers_as_its_blocking_twin() {
    use crate::lm75::Lm75;
    use crate::mcp960x::Mcp960x;
    use crate::mcp9808::Mcp9808;
    use crate::sht4x::Sht4x;
    use crate::tmp102::Tmp102;
    use crate::tmp117::Tmp117;
    same_minute!("tmp117", 0x48, Tmp117);
    same_minute!("mcp9808", 0x18, Mcp9808);
    same_minute!("tmp102", 0x48, Tmp102);
    same_minute!("tmp105", 0x48, Lm75, Lm75Part::Tmp105);
    same_minute!("sht4x", 0x44, Sht4x);
    same_minute!("mcp9601", 0x67, Mcp960x, Thermocouple::K);
}

#[test]
fn the_receiver_is_brought_to_nav_pvt_and_drained_as_by_its_blocking_twin() {
    let chip = "kind = 'ublox'\naddress = 0x42\n[chip.route]\nstart_lat_deg = 52.5\n\
                start_lon_deg = 13.4\n";
    let (one, two) = (world(chip), world(chip));
    let mut blocking = crate::ublox::Ublox::new(one.clone(), 0x42);
    let mut waiting = Ublox::new(Slow(two.clone()), 0x42);
    blocking.start(0).unwrap();
    run(waiting.start(0)).0.unwrap();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for second in 1..100 {
        let now_ms = second * 1000;
        one.advance_to(now_ms);
        two.advance_to(now_ms);
        let stats = blocking
            .poll(now_ms, &mut |event| theirs.push(event))
            .unwrap();
        let polled = run(waiting.poll(now_ms, &mut |event| ours.push(event))).0;
        assert_eq!(polled, Ok(stats));
    }
    assert_eq!(ours, theirs);
    assert!(ours.len() >= 99);
    assert_eq!(
        (waiting.mode(), waiting.health()),
        (UbloxMode::Ubx, blocking.health())
    );
}

#[test]
fn the_packets_of_the_other_receivers_are_read_as_by_the_blocking_twin() {
    for kind in ["mt3333", "l76k"] {
        let chip = std::format!(
            "kind = '{kind}'\naddress = 0x10\n[chip.route]\nstart_lat_deg = 52.5\n\
             start_lon_deg = 13.4\ncold_start_s = 5\n"
        );
        let (one, two) = (world(&chip), world(&chip));
        let mut blocking = crate::mt3333::Mt3333::new(one.clone(), 0x10);
        let mut waiting = Mt3333::new(Slow(two.clone()), 0x10);
        blocking.start(0);
        waiting.start(0);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for now_ms in (0..60_000).step_by(250) {
            one.advance_to(now_ms);
            two.advance_to(now_ms);
            let stats = blocking.poll(now_ms, &mut |event| theirs.push(event));
            let polled = run(waiting.poll(now_ms, &mut |event| ours.push(event))).0;
            assert_eq!(polled, stats);
            assert_eq!(waiting.position(now_ms), blocking.position(now_ms));
        }
        assert_eq!(ours, theirs);
        assert!(ours.len() >= 60, "{kind}: {}", ours.len());
    }
}

#[test]
fn the_futures_can_be_sent_to_another_thread() {
    fn sent<F: Future + Send>(_future: F) -> String {
        "sent".into()
    }
    let bus = world("kind = 'mcp9808'\naddress = 0x18\nbase_deg_c = 1.0");
    // A bus whose own futures can be sent makes futures that can be sent.
    let mut sensor: Box<Mcp9808<Slow>> = Box::new(Mcp9808::new(Slow(bus), 0x18));
    assert_eq!(sent(sensor.fetch(0)), "sent");
}
