//! The crates `ublox` and `nmea` as oracles over generated frames and sentences; recorded ones are
//! compared in `tests/recorded`.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "test code, which clippy cannot tell in functions beside the tests"
)]

mod compare;

use compare::{Compared, sentence, ubx};
use proptest::prelude::*;

/// An optional decimal number.
fn decimal(whole: std::ops::Range<u32>, places: usize) -> impl Strategy<Value = String> {
    let fraction = 10u32.pow(u32::try_from(places).unwrap());
    prop_oneof![
        4 => (whole, 0..fraction).prop_map(move |(w, f)| format!("{w}.{f:0places$}")),
        1 => Just(String::new()),
    ]
}

fn place() -> impl Strategy<Value = String> {
    let minutes = 0u32..6_000_000;
    (
        0u32..90,
        minutes.clone(),
        "[NS]",
        0u32..180,
        minutes,
        "[EW]",
    )
        .prop_map(|(lat, lat_minutes, north, lon, lon_minutes, east)| {
            let part = |minutes: u32| format!("{:02}.{:05}", minutes / 100_000, minutes % 100_000);
            format!(
                "{lat:02}{},{north},{lon:03}{},{east}",
                part(lat_minutes),
                part(lon_minutes)
            )
        })
}

fn time() -> impl Strategy<Value = String> {
    (0u32..24, 0u32..60, 0u32..60, 0u32..1000)
        .prop_map(|(hour, minute, second, ms)| format!("{hour:02}{minute:02}{second:02}.{ms:03}"))
}

proptest! {
    #[test]
    fn a_nav_pvt_of_any_bytes_is_read_alike(payload in proptest::collection::vec(any::<u8>(), 92)) {
        let mut frame = vec![0xb5, 0x62, 1, 7, 92, 0];
        frame.extend(payload);
        let sums = sensor_drivers::ubx::checksum(&frame[2..]);
        frame.extend(sums);
        let mut compared = Compared::default();
        prop_assert_eq!(ubx(&frame, &mut compared), None);
        prop_assert_eq!(compared.nav_pvt, 1);
    }

    #[test]
    fn an_rmc_is_read_alike(
        time in time(),
        status in "[AV]",
        place in place(),
        speed in decimal(0..1000, 3),
        course in decimal(0..360, 2),
        (day, month, year) in (1u32..29, 1u32..13, 0u32..80),
        mode in "[ADN]",
    ) {
        let body = format!(
            "GNRMC,{time},{status},{place},{speed},{course},{day:02}{month:02}{year:02},,,{mode}"
        );
        let mut compared = Compared::default();
        prop_assert_eq!(sentence(&body, &mut compared), None, "{}", body);
        prop_assert_eq!((compared.rmc, compared.refused), (1, 0), "{}", body);
    }

    #[test]
    fn a_gga_is_read_alike(
        time in time(),
        place in place(),
        quality in 0u8..9,
        satellites in 0u8..33,
        hdop in decimal(0..99, 2),
        height in decimal(0..9000, 1),
    ) {
        let body =
            format!("GPGGA,{time},{place},{quality},{satellites:02},{hdop},{height},M,46.0,M,,");
        let mut compared = Compared::default();
        prop_assert_eq!(sentence(&body, &mut compared), None, "{}", body);
        prop_assert_eq!((compared.gga, compared.refused), (1, 0), "{}", body);
    }
}
