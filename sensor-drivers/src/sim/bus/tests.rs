use super::*;
use crate::error::Advice;

/// Remembers the last byte written and reads it back.
#[derive(Debug)]
struct Echo(u8);

impl SimChip for Echo {
    fn write(&mut self, _now_ms: u64, bytes: &[u8]) -> Result<(), SimBusError> {
        self.0 = bytes[bytes.len() - 1];
        Ok(())
    }

    fn read(
        &mut self,
        now_ms: u64,
        into: &mut [u8],
        _truth: &mut TruthFile,
    ) -> Result<(), SimBusError> {
        into.fill(self.0 + u8::try_from(now_ms).unwrap());
        Ok(())
    }
}

fn bus() -> SimBus {
    let bus = SimBus::new(1, TruthFile::none());
    bus.attach(
        0x48,
        Box::new(Echo(0)),
        vec![Window {
            from_ms: 10,
            to_ms: 20,
        }],
    );
    bus
}

#[test]
fn the_transactions_of_a_bcm2835_work_and_share_one_bus_between_handles() {
    let mut bus = bus();
    let mut other = bus.clone();
    let mut byte = [0];
    assert_eq!(bus.write(0x48, &[3, 5]), Ok(()));
    assert_eq!(other.read(0x48, &mut byte), Ok(()));
    assert_eq!(byte, [6]);
    assert_eq!(bus.write_read(0x48, &[8], &mut byte), Ok(()));
    assert_eq!(byte, [9]);
    assert_eq!(bus.message_write(0x48, &[1]), Ok(()));
    assert_eq!(bus.message_read(0x48, &mut byte), Ok(()));
    assert_eq!(byte, [2]);
}

#[test]
fn a_read_before_another_message_and_empty_messages_are_refused() {
    let mut bus = bus();
    let (mut first, mut second) = ([0], [0]);
    let mut reads = [Operation::Read(&mut first), Operation::Read(&mut second)];
    assert_eq!(
        bus.transaction(0x48, &mut reads),
        Err(SimBusError::Unsupported)
    );
    let mut read_write = [Operation::Read(&mut first), Operation::Write(&[1])];
    assert_eq!(
        bus.transaction(0x48, &mut read_write),
        Err(SimBusError::Unsupported)
    );
    assert_eq!(bus.write(0x48, &[]), Err(SimBusError::Unsupported));
    assert_eq!(bus.read(0x48, &mut []), Err(SimBusError::Unsupported));
    assert_eq!(
        bus.write_read(0x48, &[1], &mut []),
        Err(SimBusError::Unsupported)
    );
    assert_eq!(
        bus.transaction(0x48, &mut []),
        Err(SimBusError::Unsupported)
    );
}

#[test]
fn what_the_kernel_does_not_pass_on_is_refused_before_a_chip_sees_it() {
    let mut bus = bus();
    let largest = vec![1; MESSAGE_LEN_MAX];
    assert_eq!(bus.write(0x48, &largest), Ok(()));
    let refused = bus.write(0x48, &vec![1; MESSAGE_LEN_MAX + 1]);
    assert_eq!(refused, Err(SimBusError::TooLarge));
    assert_eq!(SimBusError::TooLarge.class(), BusClass::Other(22));
    for (messages, expected) in [(42, Ok(())), (43, Err(SimBusError::TooLarge))] {
        let mut writes: Vec<_> = (0..messages).map(|_| Operation::Write(&[1])).collect();
        assert_eq!(bus.transaction(0x48, &mut writes), expected);
    }
}

#[test]
fn an_absent_chip_and_a_silenced_one_do_not_acknowledge() {
    let mut bus = bus();
    assert_eq!(bus.write(0x49, &[1]), Err(SimBusError::NoAck));
    for (now_ms, expected) in [
        (9, Ok(())),
        (10, Err(SimBusError::NoAck)),
        (19, Err(SimBusError::NoAck)),
        (20, Ok(())),
    ] {
        bus.advance_to(now_ms);
        assert_eq!(bus.write(0x48, &[1]), expected, "at {now_ms}");
    }
    assert_eq!(SimBusError::NoAck.class(), BusClass::NoAck);
    assert_eq!(SimBusError::NoAck.class().advice(), Advice::Reinitialise);
}

#[test]
fn faults_have_the_errors_of_a_linux_adapter_and_a_hung_chip_hangs_the_whole_bus() {
    let during = |fault| {
        let mut bus = bus();
        let window = Window {
            from_ms: 10,
            to_ms: 20,
        };
        bus.attach_with(
            0x49,
            Box::new(Echo(0)),
            FaultScript::new(vec![(window, fault)], 1),
        );
        bus.attach(0x4a, Box::new(Echo(0)), Vec::new());
        bus.advance_to(15);
        let mut byte = [0];
        let own = (bus.write(0x49, &[1]), bus.read(0x49, &mut byte));
        let class = |error: SimBusError| error.class();
        let other = bus.write(0x4a, &[1]).map_err(class);
        bus.advance_to(20);
        assert_eq!(bus.write(0x49, &[1]), Ok(()));
        (own.0.map_err(class), own.1.map_err(class), other, byte[0])
    };
    let hung = Err(BusClass::Timeout);
    assert_eq!(during(Fault::Hung), (hung, hung, hung, 0));
    let no_ack = Err(BusClass::NoAck);
    assert_eq!(during(Fault::NoAck), (no_ack, no_ack, Ok(()), 0));
    let short = Err(BusClass::StretchOrLength);
    assert_eq!(during(Fault::ShortRead), (Ok(()), short, Ok(()), 0));
    assert_eq!(during(Fault::WrongPart), (Ok(()), Ok(()), Ok(()), 0x55));
    let garbage = Fault::StretchGarbage { one_in: 1 };
    assert_eq!(during(garbage), (Ok(()), Ok(()), Ok(()), 0x01));
}

#[test]
fn time_never_runs_backwards() {
    let mut bus = bus();
    bus.advance_to(9);
    bus.advance_to(4);
    let mut byte = [0];
    bus.read(0x48, &mut byte).unwrap();
    assert_eq!(byte, [9]);
}
