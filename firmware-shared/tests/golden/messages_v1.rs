//! Golden bytes of messages, alerts and serial frames, version 1.
//!
//! If a test here fails, do not change the test: you have broken the wire between deployed vehicles and
//! centres. Version 1 freezes at release 0.1.0; until then a deliberate change replaces the bytes and
//! CHANGELOG.md says so.

use firmware_shared::alert::{Alert, AlertState, HeadShare, Severity};
use firmware_shared::catalogue::{Catalogue, Details, SensorDetail, SensorEntry};
use firmware_shared::id::{DeviceId, Epoch, Lane, SeqRange, StreamId};
use firmware_shared::message::{
    Ack, AckEntry, Anchors, Birth, Goodbye, LaneNext, Loss, LossReason, Losses, MESSAGE_LEN_MAX,
    Message, More, Nack, NackReason, OpenEpoch, OpenLane, Opening, Pacing, Status, Will,
};
use firmware_shared::reading::Kind;
use firmware_shared::serial;
use firmware_shared::time::{BootId, ClockSource, TimeAnchor};
use firmware_shared::units::Unit;

const EPOCH: Epoch = Epoch::from_random(0x0123_4567_89ab_cdef);
const BOOT: BootId = BootId([0xb0; 16]);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn check<M: Message + PartialEq + std::fmt::Debug>(message: &M, expected: &str) {
    let mut out = vec![0; MESSAGE_LEN_MAX];
    let bytes = message.encode(&mut out).unwrap();
    assert_eq!(hex(bytes), expected);
    assert_eq!(M::decode(bytes).as_ref(), Ok(message));
}

fn device() -> DeviceId {
    "truck-001".parse().unwrap()
}

fn range(first_seq: u64, last_seq: u64) -> SeqRange {
    SeqRange::new(first_seq, last_seq).unwrap()
}

fn catalogue() -> Catalogue {
    let sensor = SensorEntry {
        index: 3,
        name: "cargo".try_into().unwrap(),
        kind: Kind::Temperature,
        unit: Unit::CELSIUS,
        role: "load".try_into().unwrap(),
        calibration: -5,
        period_ms: 1000,
    };
    Catalogue::new([sensor]).unwrap()
}

fn next() -> heapless::Vec<LaneNext, 3> {
    [LaneNext {
        lane: Lane::Telemetry,
        next_seq: 300,
    }]
    .into_iter()
    .collect()
}

#[test]
fn birth() {
    let lane = OpenLane {
        lane: Lane::Telemetry,
        next_seq: None,
        held: [range(60, 119)].into_iter().collect(),
    };
    let open = OpenEpoch {
        epoch: EPOCH,
        boot_id: BOOT,
        lanes: [lane].into_iter().collect(),
    };
    let birth = Birth {
        device: device(),
        nonce: 0x1122_3344_5566_7788,
        spool_id: 7,
        incarnation: 2,
        epoch: EPOCH,
        boot_id: BOOT,
        boottime_ms: 123_456,
        software: "0.1.0".try_into().unwrap(),
        catalogue: catalogue(),
        epochs: [open].into_iter().collect(),
        details: Details::default(),
    };
    check(
        &birth,
        "f20109747275636b2d30303188ef99abc5e88c91110702ef9bafcdf8acd19101b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0c0c40705302e312e30fbb4b1be0d010305636172676f0001046c6f616409e80701ef9bafcdf8acd19101b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0010100013c770b25090a",
    );
}

#[test]
fn opening() {
    let opening = Opening {
        boot_id: BOOT,
        software: "0.1.0".try_into().unwrap(),
        catalogue: catalogue(),
        details: Details::default(),
    };
    let mut out = [0; 256];
    let bytes = postcard::to_slice(&opening, &mut out).unwrap();
    assert_eq!(
        hex(bytes),
        "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b005302e312e30fbb4b1be0d010305636172676f0001046c6f616409e807"
    );
    assert_eq!(postcard::from_bytes::<Opening>(bytes), Ok(opening));
}

#[test]
fn details_stand_behind_everything_that_earlier_readers_know() {
    let detail = SensorDetail {
        index: 3,
        compartment: "rear".try_into().unwrap(),
        calibration_until_day: Some(20_822),
    };
    let opening = Opening {
        boot_id: BOOT,
        software: "0.1.0".try_into().unwrap(),
        catalogue: catalogue(),
        details: Details([detail].into_iter().collect()),
    };
    let mut out = [0; 256];
    let bytes = postcard::to_slice(&opening, &mut out).unwrap();
    assert_eq!(
        hex(bytes),
        "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b005302e312e30fbb4b1be0d010305636172676f0001046c6f616409e8070103047265617201acc502"
    );
    assert_eq!(postcard::from_bytes::<Opening>(bytes), Ok(opening));
}

#[test]
fn status() {
    let status = Status {
        epoch: EPOCH,
        boottime_ms: 123_456,
        next: next(),
        spool_bytes: 4096,
        oldest_unacked_ms: 70_000,
        ram_mode: true,
        more: None,
    };
    check(
        &status,
        "f202ef9bafcdf8acd19101c0c4070101ac028020f0a20401b94ddc7e",
    );
}

#[test]
fn more_stands_behind_everything_that_earlier_readers_of_a_status_know() {
    let status = Status {
        epoch: EPOCH,
        boottime_ms: 123_456,
        next: next(),
        spool_bytes: 4096,
        oldest_unacked_ms: 70_000,
        ram_mode: true,
        more: Some(More {
            spool_max_bytes: 293_601_280,
            evicted: 7,
            card_life_used_permille: 12,
            clock_source: ClockSource::Gnss,
            clock_error_ms: Some(20),
            certificate_until_s: Some(1_804_118_400),
            ack_latency_ms: None,
            plan_used_bytes: 5_000,
            plan_max_bytes: 0,
        }),
    };
    check(
        &status,
        "f202ef9bafcdf8acd19101c0c4070101ac028020f0a204018080808c01070c0401140180a6c5b80d008827002edf43ae",
    );
}

#[test]
fn goodbye() {
    check(
        &Goodbye {
            epoch: EPOCH,
            boottime_ms: 123_456,
            next: next(),
        },
        "f203ef9bafcdf8acd19101c0c4070101ac026b7d09cd",
    );
}

#[test]
fn will() {
    check(&Will { epoch: EPOCH }, "f204ef9bafcdf8acd1910185acf613");
}

#[test]
fn ack() {
    let entry = AckEntry {
        epoch: EPOCH,
        lane: Lane::Telemetry,
        upto: 60,
        ranges: [range(120, 179), range(300, 300)].into_iter().collect(),
        tail_from: Some(360),
    };
    let ack = Ack {
        central_id: 0x0fed_cba9_8765_4321,
        run: 5,
        n: 1000,
        nonce: Some(0x1122_3344_5566_7788),
        entries: [entry].into_iter().collect(),
    };
    check(
        &ack,
        "f205a18695bb98f5f2f60f05e8070188ef99abc5e88c911101ef9bafcdf8acd19101013c0278b301ac02ac0201e8028a939c58",
    );
}

#[test]
fn nack() {
    let frame = Some((
        StreamId {
            epoch: EPOCH,
            lane: Lane::Telemetry,
        },
        range(60, 119),
    ));
    check(
        &Nack {
            central_id: 1,
            frame,
            reason: NackReason::Corrupt,
        },
        "f2060101ef9bafcdf8acd19101013c77004c0f602f",
    );
    check(
        &Nack {
            central_id: 1,
            frame: None,
            reason: NackReason::Clash,
        },
        "f206010002e0321678",
    );
}

#[test]
fn losses() {
    let loss = |first_seq, last_seq, at_most, reason| Loss {
        epoch: EPOCH,
        lane: Lane::Telemetry,
        first_seq,
        last_seq,
        at_most,
        reason,
    };
    let losses = [
        loss(0, Some(9), None, LossReason::Evicted),
        loss(10, Some(19), None, LossReason::Corrupt),
        loss(20, None, Some(500), LossReason::NotAcceptedBeforeCrash),
        loss(30, Some(39), None, LossReason::ReleasedBeforeRestore),
    ];
    check(
        &Losses {
            losses: losses.into_iter().collect(),
        },
        "f20704ef9bafcdf8acd19101010001090000ef9bafcdf8acd19101010a01130001ef9bafcdf8acd1910101140001f40302ef9bafcdf8acd19101011e01270003c0b64589",
    );
}

#[test]
fn anchors() {
    let sources = [
        ClockSource::None,
        ClockSource::Fake,
        ClockSource::Rtc,
        ClockSource::Ntp,
        ClockSource::Gnss,
    ];
    let anchor = |source| TimeAnchor {
        boottime_ms: 5000,
        utc_ms: 1_790_000_000_123,
        error_ms: 100,
        source,
    };
    let anchors = Anchors {
        boot_id: BOOT,
        anchors: sources.into_iter().map(anchor).collect(),
    };
    check(
        &anchors,
        "f208b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0058827f6b183c5986864008827f6b183c5986864018827f6b183c5986864028827f6b183c5986864038827f6b183c59868640463ec042c",
    );
}

#[test]
fn pacing() {
    let pacing = |backlog_bytes_per_s| Pacing {
        central_id: 0x1122_3344_5566_7788,
        backlog_bytes_per_s,
        valid_s: 300,
    };
    check(
        &pacing(Some(20_000)),
        "f20988ef99abc5e88c911101a09c01ac02d0bb7737",
    );
    check(&pacing(None), "f20988ef99abc5e88c911100ac02f9c96eda");
}

#[test]
fn alert() {
    let alert = Alert {
        id: "truck-001-0123456789abcdef-4".try_into().unwrap(),
        device: device(),
        epoch: EPOCH,
        seq: 4,
        state: AlertState::Raised,
        severity: Severity::Critical,
        kind: "limit_high".try_into().unwrap(),
        sensor: "cargo".try_into().unwrap(),
        value: Some(9.5),
        unit: "degC".try_into().unwrap(),
        expected: None,
        low: None,
        high: Some(8.0),
        boottime_ms: 123_456,
        utc: Some("2026-09-21T14:13:20.123Z".try_into().unwrap()),
        late: false,
        window: Some(range(100, 220)),
        text: "cargo is at 9.5 degC, above its limit of 8.0 degC"
            .try_into()
            .unwrap(),
        score: None,
        duration_ms: None,
        heads: Default::default(),
        load_id: None,
        profile_version: None,
    };
    let json = serde_json::to_string(&alert).unwrap();
    let expected = concat!(
        r#"{"id":"truck-001-0123456789abcdef-4","device":"truck-001","epoch":"0123456789abcdef","#,
        r#""seq":4,"state":"raised","severity":"critical","kind":"limit_high","sensor":"cargo","#,
        r#""value":9.5,"unit":"degC","expected":null,"low":null,"high":8.0,"boottime_ms":123456,"#,
        r#""utc":"2026-09-21T14:13:20.123Z","late":false,"window":{"first_seq":100,"last_seq":220},"#,
        r#""text":"cargo is at 9.5 degC, above its limit of 8.0 degC"}"#,
    );
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_str::<Alert>(&json).unwrap(), alert);
    let head = HeadShare {
        head: "ramp".try_into().unwrap(),
        share: 0.75,
    };
    let explained = Alert {
        score: Some(0.625),
        duration_ms: Some(1_500_000),
        heads: [head].into_iter().collect(),
        load_id: Some("L-4711".try_into().unwrap()),
        profile_version: Some(7),
        ..alert
    };
    let more = concat!(
        r#","score":0.625,"duration_ms":1500000,"heads":[{"head":"ramp","share":0.75}],"#,
        r#""load_id":"L-4711","profile_version":7}"#,
    );
    let longer = serde_json::to_string(&explained).unwrap();
    assert_eq!(longer, format!("{}{more}", expected.trim_end_matches('}')));
    assert_eq!(serde_json::from_str::<Alert>(&longer).unwrap(), explained);
}

#[test]
fn serial_frame() {
    let mut out = [0; serial::FRAME_LEN_MAX];
    let len = serial::encode(9, &[0, 1, 0, 255], &mut out).unwrap();
    assert_eq!(hex(&out[..len]), "030109020106ffcd954e5b00");
}
