//! What must hold for any bytes that a bus, a port or a file delivers.
//!
//! Each function takes one input and panics when a promise is broken. `cargo +nightly fuzz run
//! stream` in `sensor-drivers` searches for such an input; `tests/fuzz.rs` runs the same functions
//! over a bounded number of seeded inputs with every test run.
//!
//! The first bytes of an input choose how it is cut; the rest is what the bus delivers.

use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};
use sensor_drivers::gnss::decode::GnssDecoder;
use sensor_drivers::gnss::stream::{FRAME_LEN_MAX, Frame, NMEA_BODY_LEN_MAX, StreamSplitter};
use sensor_drivers::gnss::{EpochReport, EpochTime, Fix, GnssEvent};
use sensor_drivers::lm75::{Lm75, Lm75Part};
use sensor_drivers::mcp960x::{Mcp960x, Thermocouple};
use sensor_drivers::mcp9808::Mcp9808;
use sensor_drivers::mt3333::{Mt3333, PACKET_LEN};
use sensor_drivers::nmea::{self, Sentence};
use sensor_drivers::sht4x::Sht4x;
use sensor_drivers::tmp102::Tmp102;
use sensor_drivers::tmp117::Tmp117;
use sensor_drivers::ublox::{BUFFER_LEN, ROUNDS_MAX, Ublox, UbloxConfig};
use sensor_drivers::ubx::status::{NavTimeLs, RadioState, SecSig, nav_status_spoofing};
use sensor_drivers::ubx::{self, Ack, NavPvt};

/// The splitter finds the frames of a search over the whole input, however it is cut.
pub fn stream(data: &[u8]) {
    let (cut, bytes) = cut(data);
    let mut splitter = StreamSplitter::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(cut) {
        splitter.push(piece, &mut |frame| found.push(owned(&frame)));
        assert!(splitter.unfinished_len() <= FRAME_LEN_MAX);
    }
    while splitter.unfinished_len() > 0 {
        splitter.give_up_unfinished(&mut |frame| found.push(owned(&frame)));
    }
    assert_eq!(found, frames(bytes));
}

/// Any text between `$` and `*` gives numbers in their ranges.
pub fn nmea(body: &[u8]) {
    match nmea::parse(body) {
        Sentence::Rmc(rmc) => {
            rmc.position.into_iter().for_each(on_earth);
            assert!(rmc.tod_ms.is_none_or(|ms| ms < 86_401_000));
            assert!(rmc.speed_mm_s.is_none_or(|speed| speed >= 0));
            assert!(
                rmc.course_1e5_deg
                    .is_none_or(|c| (0..=36_000_000).contains(&c))
            );
            let _utc_ms = rmc.utc_ms();
        }
        Sentence::Gga(gga) | Sentence::Gns(gga) => {
            gga.position.into_iter().for_each(on_earth);
            assert!(gga.quality <= 8);
            assert!(gga.tod_ms.is_none_or(|ms| ms < 86_401_000));
        }
        Sentence::Gsa(gsa) => assert!((1..=3).contains(&gsa.mode)),
        Sentence::Zda(zda) => {
            let _utc_ms = zda.utc_ms();
        }
        Sentence::Other | Sentence::Malformed => {}
    }
}

/// Any payload is decoded or refused, and the checksum is the byte-wise one.
pub fn ubx(data: &[u8]) {
    let [class, id, payload @ ..] = data else {
        return;
    };
    if let Some(pvt) = NavPvt::decode(payload) {
        assert!(payload.len() >= NavPvt::LEN_MIN);
        // Years 1 to 9999.
        let years = -62_135_596_800_000..253_402_300_861_000;
        assert!(pvt.utc_ms.is_none_or(|utc_ms| years.contains(&utc_ms)));
    }
    let _said = Ack::decode(*class, *id, payload);
    let _said = NavTimeLs::decode(payload);
    let _said = RadioState::decode_mon_hw(payload);
    let _said = RadioState::decode_mon_rf(payload);
    let _said = SecSig::decode(payload);
    let _said = nav_status_spoofing(payload);
    assert_eq!(ubx::checksum(data), byte_wise(data));
}

/// A log gives the same epochs however it is cut, each once in a row, and no impossible position.
pub fn decode(data: &[u8]) {
    let (cut, bytes) = cut(data);
    let whole = decoded(bytes, usize::MAX);
    assert_eq!(decoded(bytes, cut), whole);
    let mut last: Option<EpochTime> = None;
    for report in whole {
        if let Some(fix) = report.fix() {
            valid(fix);
            assert_eq!(Some(fix.epoch), report.epoch);
        }
        assert!(report.epoch.is_none() || report.epoch != last, "{report:?}");
        last = report.epoch.or(last);
    }
}

/// Whatever a bus answers, a poll of the u-blox driver is bounded and its transactions are those
/// that every adapter does.
pub fn ddc(data: &[u8]) {
    let (cut, bytes) = cut(data);
    let chunk_len = 8 + cut % 249;
    let config = UbloxConfig {
        chunk_len,
        ..UbloxConfig::default()
    };
    let bus = Hostile::new(bytes);
    let mut driver = Ublox::with_config(bus, 0x42, config).unwrap_or_else(|e| panic!("{e}"));
    let mut now_ms = 0;
    for turn in 0..8u64 {
        now_ms += 100 + turn * 297;
        if turn % 3 == 0 {
            let _started = driver.start(now_ms);
        }
        let mut events = 0;
        let result = driver.poll(now_ms, &mut |event| {
            if let GnssEvent::Fix(fix) = &event {
                valid(fix);
            }
            events += u32::from(!matches!(event, GnssEvent::Time(_)));
        });
        if let Ok(stats) = result {
            assert!(stats.bytes as usize <= ROUNDS_MAX * BUFFER_LEN);
            assert_eq!(stats.epochs, events);
            // The shortest sentence, `$GPRMC*4B`, has nine bytes; one may have been begun before.
            assert!(events <= stats.bytes / 9 + 1);
        }
        let _state = driver.position(now_ms);
    }
    driver.release().check(chunk_len);
}

/// The same for receivers that stream in packets.
pub fn packets(data: &[u8]) {
    let mut driver = Mt3333::new(Hostile::new(data), 0x10);
    driver.start(0);
    for turn in 0..20u64 {
        let result = driver.poll(turn * 3, &mut |event| {
            if let GnssEvent::Fix(fix) = &event {
                valid(fix);
            }
        });
        if let Ok(stats) = result {
            assert!(stats.bytes as usize <= PACKET_LEN);
        }
    }
    driver.release().check(PACKET_LEN);
}

/// Whatever a bus answers, a thermometer gives a value of its range or an error: once with a bus
/// that knows no registers, and once with the part's identity and the settings written to it.
pub fn thermometers(data: &[u8]) {
    let range = |value: i32, from: i32, to: i32| {
        assert!((from * 128..=to * 128).contains(&value), "{value}");
    };
    // Starting may fail; a driver must bear to be asked all the same.
    macro_rules! hostile {
        ($new:expr, $identity:expr, $sample:ident => $check:block) => {
            for part in [&[][..], &$identity[..]] {
                let mut driver = $new(Hostile::part(data, part));
                for turn in 0..12u64 {
                    if turn % 6 == 0 {
                        let _started = driver.start(turn * 1000);
                    }
                    if let Ok($sample) = driver.fetch(turn * 1000 + 900) {
                        assert!($sample.stamp_ms <= turn * 1000 + 900);
                        $check
                    }
                }
                driver.release().check(6);
            }
        };
    }
    let tmp117 = [(0x0f, [0x01, 0x17], 0x00), (0x01, [0, 0], 0x20)];
    hostile!(|bus| Tmp117::new(bus, 0x48), tmp117, sample => {
        range(i32::from(sample.raw), -55, 150);
    });
    let mcp9808 = [(0x06, [0, 0x54], 0), (0x07, [4, 0], 0), (0x01, [0, 0], 0)];
    hostile!(|bus| Mcp9808::new(bus, 0x18), mcp9808, sample => {
        range(sample.deg_c_128, -40, 125);
    });
    let tmp102 = [(0x0f, [0, 0], 0), (0x01, [0x60, 0xa0], 0x60)];
    hostile!(|bus| Tmp102::new(bus, 0x49), tmp102, sample => {
        range(sample.deg_c_128, -55, 128);
    });
    for kind in [Lm75Part::Lm75, Lm75Part::Lm75b, Lm75Part::Tmp105] {
        let lm75 = [(0x0f, [0, 0], 0), (0x01, [0, 0], 0)];
        hostile!(|bus| Lm75::new(bus, 0x4f, kind), lm75, sample => {
            range(sample.deg_c_128, -55, 128);
        });
    }
    hostile!(|bus| Sht4x::new(bus, 0x44), [], sample => {
        range(sample.deg_c_128, -40, 125);
        assert!((0..=100_000).contains(&sample.humidity_milli_percent));
    });
    let mcp9601 = [
        (0x20, [0x41, 0x12], 0),
        (0x04, [0, 0], 0x40),
        (0x05, [0, 0], 0),
        (0x06, [0, 0], 0),
    ];
    hostile!(|bus| Mcp960x::new(bus, 0x60, Thermocouple::K), mcp9601, sample => {
        range(sample.cold_deg_c_128, -40, 125);
        if let Ok(hot) = sample.hot_deg_c_128 {
            range(hot, -270, 1372);
        }
    });
}

/// A register that a part has: its number, what it holds, and bits of its first byte that always
/// read 1.
type Register = (u8, [u8; 2], u8);

/// A bus that answers with the bytes of the input, over and over, and fails where they say so; but
/// the registers that it has keep what is written to them.
#[derive(Debug)]
struct Hostile<'a> {
    bytes: &'a [u8],
    at: usize,
    longest: usize,
    registers: Vec<Register>,
    pointer: u8,
}

impl<'a> Hostile<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            longest: 0,
            registers: Vec::new(),
            pointer: 0,
        }
    }

    fn part(bytes: &'a [u8], registers: &[Register]) -> Self {
        Self {
            registers: registers.to_vec(),
            ..Self::new(bytes)
        }
    }

    fn next(&mut self) -> u8 {
        self.at += 1;
        let index = (self.at - 1) % self.bytes.len().max(1);
        self.bytes.get(index).copied().unwrap_or(0xff)
    }

    fn write(&mut self, bytes: &[u8]) {
        if let [pointer, value @ ..] = bytes {
            self.pointer = *pointer;
            let own = self.registers.iter_mut().find(|own| own.0 == *pointer);
            if let Some((_, held, _)) = own {
                held.iter_mut()
                    .zip(value)
                    .for_each(|(held, value)| *held = *value);
            }
        }
    }

    fn read(&mut self, into: &mut [u8]) {
        let own = self.registers.iter().find(|own| own.0 == self.pointer);
        match own {
            Some((_, [high, low], stuck)) => {
                let word = [*high | *stuck, *low];
                into.iter_mut()
                    .zip(word)
                    .for_each(|(byte, value)| *byte = value);
            }
            None => into.iter_mut().for_each(|byte| *byte = self.next()),
        }
    }

    fn check(&self, longest: usize) {
        assert!(self.longest <= longest, "{} bytes at once", self.longest);
    }
}

impl ErrorType for Hostile<'_> {
    type Error = ErrorKind;
}

impl I2c for Hostile<'_> {
    fn transaction(&mut self, _: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        let failure = self.next();
        let last = operations.len().saturating_sub(1);
        assert!(operations.len() == 1 || operations.len() == 2);
        for (index, operation) in operations.iter_mut().enumerate() {
            match operation {
                Operation::Write(bytes) => {
                    assert!(!bytes.is_empty() && index == 0);
                    self.write(bytes);
                }
                Operation::Read(into) => {
                    assert!(!into.is_empty() && index == last);
                    self.longest = self.longest.max(into.len());
                    self.read(into);
                }
            }
        }
        match failure {
            0xf0 => Err(ErrorKind::NoAcknowledge(NoAcknowledgeSource::Unknown)),
            0xf1 => Err(ErrorKind::Bus),
            0xf2 => Err(ErrorKind::ArbitrationLoss),
            0xf3 => Err(ErrorKind::Other),
            _ => Ok(()),
        }
    }
}

fn valid(fix: &Fix) {
    on_earth((fix.lat_1e7_deg, fix.lon_1e7_deg));
    assert_ne!((fix.lat_1e7_deg, fix.lon_1e7_deg), (0, 0));
    let course = 0..=36_000_000;
    assert!(fix.course_1e5_deg.is_none_or(|c| course.contains(&c)));
}

fn on_earth((lat_1e7_deg, lon_1e7_deg): (i32, i32)) {
    assert!(lat_1e7_deg.abs() <= 900_000_000 && lon_1e7_deg.abs() <= 1_800_000_000);
}

fn decoded(bytes: &[u8], cut: usize) -> Vec<EpochReport> {
    let mut decoder = GnssDecoder::new();
    let mut reports = Vec::new();
    for piece in bytes.chunks(cut) {
        decoder.push(piece, &mut |report| reports.push(report));
    }
    decoder.finish(&mut |report| reports.push(report));
    reports
}

/// The length of pieces, and the rest.
fn cut(data: &[u8]) -> (usize, &[u8]) {
    match data {
        [low, high, rest @ ..] => {
            let cut = usize::from(u16::from_le_bytes([*low, *high])) % 600;
            (cut + 1, rest)
        }
        short => (1, short),
    }
}

/// A frame as it stands in the stream, without the line end.
fn owned(frame: &Frame<'_>) -> Vec<u8> {
    match frame {
        Frame::Nmea { body } => {
            let sum = body.iter().fold(0, |sum, byte| sum ^ byte);
            let mut bytes = vec![b'$'];
            bytes.extend(*body);
            bytes.extend(format!("*{sum:02X}").bytes());
            bytes
        }
        Frame::Ubx { class, id, payload } => {
            let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
            let mut bytes = vec![0xb5, 0x62, *class, *id];
            bytes.extend(len.to_le_bytes());
            bytes.extend(*payload);
            let sums = byte_wise(bytes.get(2..).unwrap_or_default());
            bytes.extend(sums);
            bytes
        }
    }
}

/// The frames of a whole input: at each place a sentence, a frame, or a byte that is skipped.
fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        match sentence_len(rest).or_else(|| ubx_len(rest)) {
            Some(len) => {
                let (frame, behind) = rest.split_at(len);
                frames.push(upper_digits(frame));
                rest = behind;
            }
            None => rest = rest.get(1..).unwrap_or_default(),
        }
    }
    frames
}

/// A sentence's checksum may be written in small letters.
fn upper_digits(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    if bytes.starts_with(b"$") {
        let digits = bytes.len().saturating_sub(2);
        bytes
            .iter_mut()
            .skip(digits)
            .for_each(u8::make_ascii_uppercase);
    }
    bytes
}

fn sentence_len(rest: &[u8]) -> Option<usize> {
    let body = rest.strip_prefix(b"$")?;
    let star = body.iter().position(|byte| *byte == b'*')?;
    let (body, tail) = body.split_at(star);
    let digits = str::from_utf8(tail.get(1..3)?).ok()?;
    let hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let sum = u8::from_str_radix(digits, 16).ok().filter(|_| hex)?;
    let plain = body
        .iter()
        .all(|byte| matches!(byte, b' '..=b'~') && *byte != b'$');
    let right = body.iter().fold(0, |sum, byte| sum ^ byte) == sum;
    (plain && right && star <= NMEA_BODY_LEN_MAX).then_some(star + 4)
}

fn ubx_len(rest: &[u8]) -> Option<usize> {
    let [0xb5, 0x62, _, _, low, high, ..] = rest else {
        return None;
    };
    let len = 8 + usize::from(u16::from_le_bytes([*low, *high]));
    let summed = rest.get(2..len - 2)?;
    let right = rest.get(len - 2..len)? == byte_wise(summed);
    (right && len <= FRAME_LEN_MAX).then_some(len)
}

fn byte_wise(bytes: &[u8]) -> [u8; 2] {
    let (mut a, mut b) = (0u8, 0u8);
    for byte in bytes {
        a = a.wrapping_add(*byte);
        b = b.wrapping_add(a);
    }
    [a, b]
}
