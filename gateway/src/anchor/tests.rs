use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use super::*;

const NOBODY: TimeConfig = TimeConfig {
    chrony: None,
    timesyncd: None,
    rtc: None,
    rtc_error_ms: 300_000,
    period_ms: 60_000,
};

fn file(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("file");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn without_anybody_who_vouches_the_wall_clock_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(anchors(&NOBODY), []);
    let missing = TimeConfig {
        timesyncd: Some(folder.path().join("none")),
        rtc: Some(folder.path().join("none")),
        ..NOBODY
    };
    assert_eq!(anchors(&missing), []);
}

#[test]
fn an_rtc_is_an_anchor_with_the_error_that_the_configuration_gives_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = TimeConfig {
        rtc: Some(file(&folder, "1800000000\n")),
        ..NOBODY
    };
    let [anchor] = anchors(&config).try_into().unwrap();
    assert_eq!(anchor.source, ClockSource::Rtc);
    assert_eq!(
        (anchor.utc_ms, anchor.error_ms),
        (1_800_000_000_500, 301_000)
    );
    for bad in ["", "soon", "0", "946684800"] {
        let config = TimeConfig {
            rtc: Some(file(&folder, bad)),
            ..NOBODY
        };
        assert_eq!(
            anchors(&config),
            [],
            "{bad:?}: no clock, or one without a battery"
        );
    }
}

#[test]
fn a_clock_that_timesyncd_has_set_today_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "");
    let handle = std::fs::File::options().write(true).open(&path).unwrap();
    let touched_ms = 1_800_000_000_000;
    let touched = UNIX_EPOCH + Duration::from_millis(1_800_000_000_000);
    handle.set_modified(touched).unwrap();
    let hour_ms = 3_600_000;
    let table = [
        (0, Some(5000)),
        (hour_ms, Some(5360)),
        (25 * hour_ms, None),
        (-hour_ms, None),
    ];
    for (age_ms, expected) in table {
        assert_eq!(
            timesyncd::error_ms(&path, touched_ms + age_ms),
            expected,
            "{age_ms}"
        );
    }
}

/// Something that answers like chrony, once.
fn answering(reply: Vec<u8>) -> (TimeConfig, std::thread::JoinHandle<Vec<u8>>) {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = TimeConfig {
        chrony: Some(server.local_addr().unwrap()),
        ..NOBODY
    };
    let answer = std::thread::spawn(move || {
        let mut asked = [0; 512];
        let (len, from) = server.recv_from(&mut asked).unwrap();
        server.send_to(&reply, from).unwrap();
        asked[..len].to_vec()
    });
    (config, answer)
}

#[test]
fn a_clock_that_chrony_keeps_is_an_anchor_with_chronys_own_bound() {
    let (config, answer) = answering(chrony::tests::following(0, 0, 0));
    let before = clock::wall_pair();
    let [anchor] = anchors(&config).try_into().unwrap();
    let asked = answer.join().unwrap();
    assert_eq!(
        asked.len(),
        104,
        "as long as the reply, or chrony stays silent"
    );
    assert_eq!(asked[..6], [6, 1, 0, 0, 0, 33]);
    assert_eq!(anchor.source, ClockSource::Ntp);
    assert!(anchor.error_ms <= 100, "{anchor:?}");
    let apart_ms = anchor.utc_ms_of(before.boottime_ms).abs_diff(before.utc_ms);
    assert!(apart_ms <= 5, "{apart_ms}");
}

#[test]
fn a_clock_that_chrony_does_not_keep_is_none() {
    let (config, answer) = answering(chrony::tests::local());
    assert_eq!(anchors(&config), []);
    answer.join().unwrap();
}
