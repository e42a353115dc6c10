extern crate std;
use super::*;
use proptest::prelude::*;

fn rmc_of(body: &str) -> Rmc {
    match parse(body.as_bytes()) {
        Sentence::Rmc(rmc) => rmc,
        other => panic!("{body} gave {other:?}"),
    }
}

fn gga_of(body: &str) -> Gga {
    match parse(body.as_bytes()) {
        Sentence::Gga(gga) => gga,
        other => panic!("{body} gave {other:?}"),
    }
}

#[test]
fn an_rmc_is_read_with_all_its_fields() {
    let rmc = rmc_of("GPRMC,110124,A,5505.330990,N,03858.587325,E,152.6,86.2,310317,8.9,E,D");
    assert_eq!(rmc.tod_ms, Some(39_684_000));
    assert!(rmc.active);
    // 5.330990 min = 319859.4 / 60e5 of a degree: 550888498.33, 389764554.17 in 1e-7 degree.
    assert_eq!(rmc.position, Some((550_888_498, 389_764_554)));
    // 152.6 kn * 1852 m / 3600 s = 78504.2 mm/s.
    assert_eq!(rmc.speed_mm_s, Some(78_504));
    assert_eq!(rmc.course_1e5_deg, Some(8_620_000));
    assert_eq!(rmc.date, Date::new(2017, 3, 31));
    assert_eq!(rmc.mode, Some(b'D'));
}

#[test]
fn a_gga_is_read_with_all_its_fields() {
    let gga = gga_of("GNGGA,171926.00,4404.14063,S,12118.85478,W,1,12,0.91,-7.26,M,-21.3,M,,");
    assert_eq!(gga.tod_ms, Some(62_366_000));
    assert_eq!(gga.position, Some((-440_690_105, -1_213_142_463)));
    assert_eq!(gga.quality, 1);
    assert_eq!(gga.satellites, Some(12));
    assert_eq!(gga.hdop_x100, Some(91));
    assert_eq!(gga.height_mm, Some(-7260));
}

#[test]
fn any_talker_is_understood_and_other_sentences_are_left_alone() {
    for talker in ["GP", "GN", "GL", "GA", "GB", "BD", "IN"] {
        let body = std::format!("{talker}RMC,,V,,,,,,,,,,N");
        assert!(!rmc_of(&body).active, "{talker}");
    }
    for body in [
        "PUBX,00",
        "GNGST,1,2",
        "GPVTG,1,T,,M,2,N,3,K",
        "",
        "$",
        "PRMC,1,A",
    ] {
        assert_eq!(parse(body.as_bytes()), Sentence::Other, "{body}");
    }
}

#[test]
fn gns_gsa_and_zda_are_read_with_their_fields() {
    let gns = "GNGNS,171926.00,4404.14063,S,12118.85478,W,NAD,17,0.91,-7.26,-21.3,,";
    let Sentence::Gns(gns) = parse(gns.as_bytes()) else {
        panic!("no GNS")
    };
    assert_eq!(
        (gns.tod_ms, gns.quality, gns.satellites),
        (Some(62_366_000), 2, Some(17))
    );
    assert_eq!((gns.hdop_x100, gns.height_mm), (Some(91), Some(-7260)));
    assert_eq!(gns.position, Some((-440_690_105, -1_213_142_463)));
    let gsa = parse(b"GPGSA,A,3,20,16,09,03,07,10,23,19,27,30,,,1.64,0.98,1.31");
    let expected = Gsa {
        mode: 3,
        pdop_x100: Some(164),
    };
    assert_eq!(gsa, Sentence::Gsa(expected));
    let zda = parse(b"GPZDA,202640.250,13,04,2015,,");
    let expected = Zda {
        tod_ms: Some(73_600_250),
        date: Date::new(2015, 4, 13),
    };
    assert_eq!(zda, Sentence::Zda(expected));
    let empty = Zda {
        tod_ms: None,
        date: None,
    };
    assert_eq!(parse(b"GPZDA,,,,,,"), Sentence::Zda(empty));
    for body in [
        "GPGSA,A,4,,,",
        "GPGSA,A,,",
        "GNGNS,000231,,,,,X,",
        "GPZDA,9,13,04,2015",
    ] {
        assert_eq!(parse(body.as_bytes()), Sentence::Malformed, "{body}");
    }
}

#[test]
fn the_best_measured_constellation_of_a_gns_counts() {
    for (modes, quality) in [
        ("", 0),
        ("NN", 0),
        ("AN", 1),
        ("NAD", 2),
        ("DA", 2),
        ("RF", 4),
        ("FR", 4),
        ("AE", 1),
        ("EA", 1),
        ("EN", 6),
        ("NS", 8),
        ("P", 3),
        ("FD", 5),
    ] {
        let body = std::format!("GNGNS,000231,,,,,{modes},,,,,");
        let Sentence::Gns(gns) = parse(body.as_bytes()) else {
            panic!("{body}")
        };
        assert_eq!(gns.quality, quality, "{modes}");
    }
}

#[test]
fn empty_fields_are_unknown_and_never_zero() {
    let rmc = rmc_of("GPRMC,,V,,,,,,,,,,N");
    let nothing = Rmc {
        tod_ms: None,
        active: false,
        position: None,
        speed_mm_s: None,
        course_1e5_deg: None,
        date: None,
        mode: Some(b'N'),
    };
    assert_eq!(rmc, nothing);
    let gga = gga_of("GPGGA,,,,,,0,,,,,,,,");
    assert_eq!(
        (gga.position, gga.height_mm, gga.satellites, gga.hdop_x100),
        (None, None, None, None)
    );
    assert_eq!(gga_of("GPGGA,101010,,,,,,,,,,,,,").quality, 0);
}

#[test]
fn an_impossible_date_is_unknown_and_a_rollover_date_is_read_as_written() {
    let april = "GPRMC,000231.099,A,4829.0005,N,00022.0015,E,0.15,212.28,2208-1,,,A";
    assert_eq!(rmc_of(april).date, None);
    assert_eq!(rmc_of(april).utc_ms(), None);
    let rollover = "GPRMC,000231.42,A,4829.0005,N,00022.0016,E,0.16,212.28,220899,,,A";
    assert_eq!(rmc_of(rollover).date, Date::new(1999, 8, 22));
    assert_eq!(rmc_of(rollover).tod_ms, Some(151_420));
}

#[test]
fn coordinates_that_do_not_exist_are_unknown() {
    let coordinates = [
        "36000.0000,N,00022.0,E",
        "4860.0000,N,00022.0,E",
        "4829.0,X,00022.0,E",
        "4829.0,N,18000.0001,E",
        "9000.0001,N,00022.0,E",
        "-4829.0,N,00022.0,E",
        "4829.0.0,N,00022.0,E",
        "4829.0,N,,E",
        ".,N,00022.0,E",
    ];
    for text in coordinates {
        let body = std::format!("GPRMC,000231,A,{text},1.0,2.0,310317,,,A");
        assert_eq!(rmc_of(&body).position, None, "{text}");
    }
    let pole = rmc_of("GPRMC,000231,A,9000.0,S,18000.0,W,1.0,2.0,310317,,,A");
    assert_eq!(pole.position, Some((-900_000_000, -1_800_000_000)));
}

#[test]
fn a_sentence_without_a_readable_time_or_verdict_belongs_to_no_epoch() {
    let bodies = [
        "GPRMC,00023,A,4829.0,N,00022.0,E,,,310317,,,A",
        "GPRMC,240000,A,4829.0,N,00022.0,E,,,310317,,,A",
        "GPRMC,0002x1,A,4829.0,N,00022.0,E,,,310317,,,A",
        "GPRMC,000231.x,A,4829.0,N,00022.0,E,,,310317,,,A",
        "GPRMC,000231,B,4829.0,N,00022.0,E,,,310317,,,A",
        "GPGGA,000231,4829.0,N,00022.0,E,9,12,0.91,7.2,M,,M,,",
        "GPGGA,000231,4829.0,N,00022.0,E,x,12,0.91,7.2,M,,M,,",
    ];
    for body in bodies {
        assert_eq!(parse(body.as_bytes()), Sentence::Malformed, "{body}");
    }
}

#[test]
fn heights_in_another_unit_are_unknown() {
    assert_eq!(
        gga_of("GPGGA,000231,4829.0,N,00022.0,E,1,12,0.91,7.2,F,,M,,").height_mm,
        None
    );
}

proptest! {
    /// The reference works on the exact fraction with 128 bits.
    #[test]
    fn coordinates_are_rounded_to_the_nearest_1e_7_degree(
        degrees in 0u32..90, minutes in 0u32..60, fraction in 0u32..10_000_000, places in 0usize..=7,
        north: bool,
    ) {
        let fraction_text = std::format!("{fraction:07}");
        let fraction_text = &fraction_text[..places];
        let body = std::format!(
            "GPRMC,000000,A,{degrees:02}{minutes:02}.{fraction_text},{},00000.0,E,,,,,,A",
            if north { 'N' } else { 'S' },
        );
        let (lat, _) = rmc_of(&body).position.unwrap();
        let numerator: i128 = std::format!("{minutes}{fraction_text}").parse().unwrap();
        let sixty = 60 * 10i128.pow(u32::try_from(places).unwrap());
        let exact = i128::from(degrees) * 10_000_000 * sixty + numerator * 10_000_000;
        let error = (i128::from(lat.abs()) * sixty - exact) * 2;
        prop_assert!(-sixty < error && error <= sixty, "{body} gave {lat}");
        prop_assert!(lat == 0 || (lat > 0) == north);
    }

    #[test]
    fn speeds_are_rounded_to_the_nearest_mm_per_second(tenths in 0u32..100_000) {
        let body = std::format!("GPRMC,,A,,,,,{}.{},,,,,A", tenths / 10, tenths % 10);
        let speed = i64::from(rmc_of(&body).speed_mm_s.unwrap());
        // 1852 m in 3600 s: mm/s times 36000 is tenths of a knot times 1852000.
        let error = speed * 36_000 - i64::from(tenths) * 1_852_000;
        prop_assert!(error.abs() <= 18_000);
    }

    #[test]
    fn arbitrary_text_never_panics(body in proptest::collection::vec(any::<u8>(), 0..120)) {
        std::hint::black_box(parse(&body));
        let mut rmc = b"GPRMC,".to_vec();
        rmc.extend(&body);
        std::hint::black_box(parse(&rmc));
        rmc[2..5].copy_from_slice(b"GGA");
        std::hint::black_box(parse(&rmc));
    }

    #[test]
    fn sentence_shaped_text_never_panics(body in "G[PN](RMC|GGA)(,[-0-9.ANSEWM]{0,24}){0,14}") {
        std::hint::black_box(parse(body.as_bytes()));
    }
}
