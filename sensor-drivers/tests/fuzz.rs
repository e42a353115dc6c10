//! The fuzz targets over a bounded number of seeded inputs: random bytes, and frames and sentences
//! of receivers, whole and damaged. `FLEET_FUZZ_RUNS` asks for more than the usual number.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code, which clippy cannot tell in functions beside the tests"
)]

#[expect(
    unreachable_pub,
    reason = "public for the fuzz targets, which are another package"
)]
#[path = "../fuzz/src/lib.rs"]
mod targets;

/// Inputs for each target.
const RUNS: u64 = 3000;

fn runs() -> u64 {
    let asked = std::env::var("FLEET_FUZZ_RUNS").ok();
    asked.map_or(RUNS, |text| {
        text.parse().expect("FLEET_FUZZ_RUNS is a number")
    })
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

fn sentence(body: &str) -> Vec<u8> {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02x}\r\n").into_bytes()
}

fn frame(class: u8, id: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0xb5, 0x62, class, id];
    frame.extend(u16::try_from(payload.len()).expect("short").to_le_bytes());
    frame.extend(payload);
    let sums = sensor_drivers::ubx::checksum(&frame[2..]);
    frame.extend(sums);
    frame
}

/// Something that a receiver could say.
fn saying(random: &mut Random) -> Vec<u8> {
    let second = random.below(4);
    let status = ["A", "V"][random.below(2)];
    let minutes = random.below(600_000);
    match random.below(9) {
        8 => {
            let lat = ["0000.0", "9000.0", "9000.1"][random.below(3)];
            let course = ["0.0", "360.0", "360.1", "-1.0", "1e9"][random.below(5)];
            sentence(&format!(
                "GNRMC,1200{second:02},A,{lat},N,00000.0,E,0.1,{course},300127,,,A"
            ))
        }
        0 => sentence(&format!(
            "GPRMC,1200{second:02},{status},48{:07.4},N,009{:07.4},E,1.0,2.0,300127,,,A",
            minutes as f64 / 1e4,
            minutes as f64 / 1e4
        )),
        1 => sentence(&format!(
            "GPGGA,1200{second:02},4800.5,N,00900.5,W,{},07,1.1,7.5,M,,M,,",
            random.below(9)
        )),
        2 => sentence(&format!(
            "GPGSA,A,{},,,,,,,,,,,,,1.8,1.0,1.5",
            random.below(5)
        )),
        3 => sentence(&format!(
            "GPZDA,1200{second:02},30,01,{},00,00",
            1999 + random.below(40)
        )),
        4 => {
            let mut payload: Vec<u8> = (0..92).map(|_| random.byte()).collect();
            payload[0..4].copy_from_slice(&(second as u32 * 1000).to_le_bytes());
            payload[4..12].copy_from_slice(&[0xeb, 7, 1, 30, 12, 0, second as u8, 7]);
            payload[20..22].copy_from_slice(&[random.below(6) as u8, random.below(2) as u8]);
            frame(1, 7, &payload)
        }
        5 => {
            let (class, id) = [
                (1, 0x26),
                (1, 3),
                (0x0a, 9),
                (0x0a, 0x38),
                (0x27, 9),
                (5, 1),
            ][random.below(6)];
            let payload: Vec<u8> = (0..random.below(80)).map(|_| random.byte()).collect();
            frame(class, id, &payload)
        }
        6 => vec![[0xff, 0x0a, 0x01][random.below(3)]; random.below(300)],
        _ => (0..random.below(40)).map(|_| random.byte()).collect(),
    }
}

/// Up to ten sayings, some of them with a byte changed, lost or repeated.
fn input(seed: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut bytes = vec![random.byte(), random.below(3) as u8];
    for _ in 0..1 + random.below(10) {
        let mut saying = saying(&mut random);
        if random.below(3) == 0 && !saying.is_empty() {
            let at = random.below(saying.len());
            match random.below(3) {
                0 => saying[at] ^= 1 << random.below(8),
                1 => drop(saying.remove(at)),
                _ => saying.insert(at, saying[at]),
            }
        }
        bytes.extend(saying);
    }
    bytes
}

fn run(target: fn(&[u8])) {
    for seed in 0..runs() {
        let input = input(seed);
        let broken = std::panic::catch_unwind(|| target(&input)).is_err();
        assert!(!broken, "seed {seed}: {input:02x?}");
    }
    target(&[]);
    target(&[0]);
}

#[test]
fn a_stream_of_any_bytes_is_split_as_a_search_over_all_of_it_would() {
    run(targets::stream);
}

#[test]
fn any_sentence_gives_numbers_in_their_ranges() {
    run(targets::nmea);
    // Bodies without their frame, so that the fields are reached.
    for seed in 0..runs() {
        let input = input(seed);
        for line in input.split(|byte| *byte == b'\n') {
            targets::nmea(line.strip_prefix(b"$").unwrap_or(line));
        }
    }
}

#[test]
fn any_payload_is_decoded_or_refused() {
    run(targets::ubx);
}

#[test]
fn any_log_gives_the_same_epochs_however_it_is_cut() {
    run(targets::decode);
}

#[test]
fn any_answers_of_a_ddc_bus_keep_a_poll_bounded() {
    run(targets::ddc);
}

#[test]
fn any_packets_keep_a_poll_bounded() {
    run(targets::packets);
}

#[test]
fn any_registers_give_a_temperature_in_range_or_an_error() {
    run(targets::thermometers);
}
