use super::*;

fn nmea(body: &str) -> Vec<u8> {
    let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
    format!("${body}*{sum:02X}\r\n").into_bytes()
}

fn log(bodies: &[&str]) -> RecordedLog {
    RecordedLog::parse(
        &bodies
            .iter()
            .flat_map(|body| nmea(body))
            .collect::<Vec<_>>(),
    )
    .unwrap()
}

#[test]
fn comment_lines_are_not_receiver_output_and_every_other_byte_is_kept() {
    let mut file = b"# Name: x\n# Date: y\r\n".to_vec();
    let mut output = b"\xb5\x62junk\n#".to_vec();
    output.extend(nmea("GPRMC,101010,V,,,,,,,,,,N"));
    output.extend(b"tail");
    file.extend(&output);
    let log = RecordedLog::parse(&file).unwrap();
    assert_eq!(log.epochs().len(), 1);
    assert_eq!(log.bytes_of(0), output);
    assert!(!log.knows_ubx());
}

#[test]
fn a_log_without_epochs_is_refused() {
    assert!(RecordedLog::parse(b"$GPTXT,01*00\r\n").is_none());
    assert!(RecordedLog::parse(b"# only a comment").is_none());
}

#[test]
fn the_pieces_of_all_epochs_are_the_log() {
    let log = log(&[
        "GPGSA,A,1",
        "GPRMC,101010,V,,,,,,,,,,N",
        "GPGGA,101010,,,,,0,,,,,,,,",
        "GPGSA,A,1",
        "GPRMC,101011,V,,,,,,,,,,N",
        "GPGGA,101011,,,,,0,,,,,,,,",
        "GPGSA,A,1",
    ]);
    assert_eq!(log.epochs().len(), 2);
    let joined: Vec<u8> = (0..2).flat_map(|n| log.bytes_of(n).to_vec()).collect();
    assert_eq!(joined, log.bytes);
    let first_gga = nmea("GPGGA,101010,,,,,0,,,,,,,,");
    assert!(log.bytes_of(0).starts_with(b"$GPGSA"));
    assert!(log.bytes_of(0).ends_with(&first_gga[..first_gga.len() - 2]));
}

#[test]
fn epochs_are_due_by_their_own_times() {
    let log = log(&[
        "GPRMC,235959.50,V,,,,,,,,,,N",
        "GPRMC,000000.70,V,,,,,,,,,,N",
        "GPRMC,,V,,,,,,,,,,N",
        "GPRMC,,V,,,,,,,,,,N",
        "GPRMC,000010.70,V,,,,,,,,,,N",
        "GPRMC,120000,V,,,,,,,,,,N",
        "GPRMC,115959,V,,,,,,,,,,N",
    ]);
    let due: Vec<u64> = log.epochs().iter().map(|epoch| epoch.due_ms).collect();
    assert_eq!(due, [0, 1200, 2200, 3200, 11_200, 12_200, 13_200]);
}

#[test]
fn truth_needs_status_and_quality_and_names_the_epoch() {
    let log = log(&[
        "GPRMC,110124,A,5505.330990,N,03858.587325,W,152.6,86.2,310317,8.9,E,D",
        "GPGGA,110124,5505.330990,N,03858.587325,E,2,09,0.9,2177.0,M,14.0,M,,",
        "GPRMC,110125,A,5505.330990,N,03858.587325,E,152.6,86.2,,8.9,E,D",
        "GPGGA,110125,5505.330990,N,03858.587325,E,0,09,0.9,2177.0,M,14.0,M,,",
        "GPRMC,110126,V,5505.330990,N,03858.587325,E,152.6,86.2,310317,8.9,E,D",
        "GPRMC,,V,,,,,,,,,,N",
    ]);
    let truths: Vec<EpochTruth> = log
        .epochs()
        .iter()
        .map(|epoch| epoch.truth.clone())
        .collect();
    let label = |text: &str| Some(text.to_string());
    let expected = [
        (
            label("2017-03-31T11:01:24.000Z"),
            Some((550_888_498, -389_764_554)),
        ),
        (label("tod:39685000"), None),
        (label("2017-03-31T11:01:26.000Z"), None),
        (None, None),
    ];
    for (n, (label, position)) in expected.into_iter().enumerate() {
        assert_eq!(
            truths[n],
            EpochTruth {
                n: n as u64,
                label,
                position
            }
        );
    }
}
