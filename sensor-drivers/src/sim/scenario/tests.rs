use super::*;
use crate::gnss::GnssEvent;
use crate::tmp117::Tmp117;
use crate::ublox::Ublox;
use std::fs;

const DOCUMENTED: &str = include_str!("../../../SCENARIOS.md");

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn refused(&self, text: &str) -> String {
        let path = self.with("scenario.toml", text);
        Scenario::read(&path).unwrap_err().to_string()
    }
}

fn log(epochs: u32) -> String {
    let line = |n: u32| {
        let body = format!(
            "GPRMC,10{:02}{:02},A,48{:02}.5,N,00900.25,E,,,310317,,,A",
            n / 60,
            n % 60,
            n % 60
        );
        let sum = body.bytes().fold(0, |sum, byte| sum ^ byte);
        format!("${body}*{sum:02X}\r\n")
    };
    (0..epochs).map(line).collect()
}

const WORLD: &str = "
speed_x = 10.0
seed = 3
truth_file = 'truth.jsonl'
[[chip]]
kind = 'tmp117'
address = 0x48
base_deg_c = -18.0
amplitude_deg_c = 2.0
noise_lsb_rms = 2.0
[[chip]]
kind = 'ublox'
address = 0x42
replay = 'drive.log'
";

/// What a process does: build the world, sample each virtual second, and be killed.
fn live(path: &Path, from_real_ms: u64, seconds: u64) -> (Vec<(u64, i16)>, Vec<i32>) {
    let SimWorld { bus, clock, .. } = Scenario::load(path, from_real_ms).unwrap();
    let mut now_ms = clock.virtual_ms(from_real_ms);
    bus.advance_to(now_ms);
    let mut thermometer = Tmp117::new(bus.clone(), 0x48);
    let mut receiver = Ublox::new(bus.clone(), 0x42);
    thermometer.start(now_ms).unwrap();
    receiver.start(now_ms).unwrap();
    let (mut readings, mut fixes) = (Vec::new(), Vec::new());
    for _ in 0..seconds {
        now_ms += 1000;
        bus.advance_to(now_ms);
        readings.push((now_ms, thermometer.fetch(now_ms).unwrap().raw));
        receiver
            .poll(now_ms, &mut |event| {
                if let GnssEvent::Fix(fix) = event {
                    fixes.push(fix.lat_1e7_deg);
                }
            })
            .unwrap();
    }
    (readings, fixes)
}

#[test]
fn every_documented_example_is_a_valid_scenario_and_every_kind_is_documented() {
    let mut examples = 0;
    for block in DOCUMENTED.split("```toml\n").skip(1) {
        let folder = Folder::new();
        let example = block.split("```").next().unwrap();
        let path = folder.with("scenario.toml", example);
        let scenario = Scenario::read(&path).unwrap();
        assert!(!scenario.chips.is_empty());
        scenario.build(0).unwrap();
        examples += 1;
    }
    assert_eq!(examples, 2);
    // What the file format itself names when it meets something else.
    let folder = Folder::new();
    let known_after = |text: &str| {
        let path = folder.with("unknown.toml", text);
        let message = Scenario::read(&path).unwrap_err().to_string();
        let names = message.split("expected one of").nth(1).unwrap().to_string();
        names
            .split('`')
            .skip(1)
            .step_by(2)
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let chips = known_after("[[chip]]\nkind = 'x'\naddress = 1\n");
    let events = known_after(
        "[[chip]]\nkind = 'tmp117'\naddress = 72\nbase_deg_c = 1.0\nevent = [{ kind = 'x' }]\n",
    );
    assert!(
        chips.len() >= 14 && events.len() >= 19,
        "{chips:?} {events:?}"
    );
    for kind in chips.iter().chain(&events) {
        assert!(
            DOCUMENTED.contains(&format!("`{kind}`")),
            "{kind} is not documented"
        );
    }
}

#[test]
fn a_world_is_one_boot_as_long_as_its_truth_file_lives() {
    let folder = Folder::new();
    folder.with("drive.log", log(3));
    let path = folder.with("scenario.toml", WORLD);
    let boot = |path: &Path| Scenario::load(path, 5000).unwrap().boot_id;
    let first = boot(&path);
    assert_eq!(boot(&path), first);
    let twin = Folder::new();
    twin.with("drive.log", log(3));
    assert_ne!(boot(&twin.with("scenario.toml", WORLD)), first);
}

#[test]
fn a_restarted_process_finds_the_same_world_further_on() {
    let folder = Folder::new();
    folder.with("drive.log", log(100));
    let path = folder.with("scenario.toml", WORLD);
    let (whole, _) = {
        let twin = Folder::new();
        twin.with("drive.log", log(100));
        live(&twin.with("scenario.toml", WORLD), 50_000, 90)
    };
    let (first, fixes_before) = live(&path, 50_000, 30);
    // Killed after 3 s of real time; back after 2 more, which are 20 s of the world.
    let (second, fixes_after) = live(&path, 55_000, 40);
    assert_eq!(first[..], whole[..30]);
    // The first reading behind a restart ends another conversion; the rest are on the same grid.
    assert_eq!(second[0].0, 50_000 + 51_000);
    assert_eq!(second[..], whole[50..90]);
    let mut all = fixes_before.clone();
    all.extend(&fixes_after);
    all.dedup();
    assert_eq!(
        all.len(),
        fixes_before.len() + fixes_after.len(),
        "no epoch twice"
    );
    // An RMC alone is reported when the next one comes, so each life misses its last epoch.
    // Of the 20 s between them the receiver kept what was due in the first 1.5 s.
    let minute = |lat: i32| (i64::from(lat) - 480_000_000) * 60 / 10_000_000;
    let minutes: Vec<i64> = all.into_iter().map(minute).collect();
    let expected: Vec<i64> = (0..30)
        .chain(31..32)
        .chain(50..90)
        .map(|n| n % 60)
        .collect();
    assert_eq!(minutes, expected);
    let text = fs::read_to_string(folder.0.path().join("truth.jsonl")).unwrap();
    let header =
        "{\"scenario\":1,\"t0_virtual_ms\":50000,\"t0_real_ms\":50000,\"speed_x\":10.0,\"seed\":3,";
    assert!(text.starts_with(header), "{:?}", text.lines().next());
    assert_eq!(text.matches("replay_start_ms").count(), 1);
    let temperatures: Vec<String> = first
        .iter()
        .chain(&second)
        .map(|(t_ms, raw)| {
            format!("{{\"t_ms\":{t_ms},\"chip\":\"tmp117\",\"address\":72,\"raw\":{raw}}}")
        })
        .collect();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("tmp117"))
        .collect();
    assert_eq!(lines, temperatures);
}

#[test]
fn virtual_time_is_continuous_over_a_restart() {
    let folder = Folder::new();
    folder.with("drive.log", log(3));
    let path = folder.with("scenario.toml", WORLD);
    let before = Scenario::load(&path, 50_000).unwrap().clock;
    let after = Scenario::load(&path, 77_777).unwrap().clock;
    for real_ms in [50_000, 60_001, 100_000] {
        assert_eq!(before.virtual_ms(real_ms), after.virtual_ms(real_ms));
    }
    assert_eq!(after.virtual_ms(60_000), 150_000);
}

#[test]
fn a_world_is_not_taken_up_with_another_speed_seed_or_boot() {
    let folder = Folder::new();
    folder.with("drive.log", log(3));
    let path = folder.with("scenario.toml", WORLD);
    Scenario::load(&path, 50_000).unwrap();
    let error = Scenario::load(&path, 49_999).unwrap_err();
    assert!(matches!(
        error,
        ScenarioError::OtherBoot {
            t0_real_ms: 50_000,
            now_ms: 49_999,
            ..
        }
    ));
    for (from, to, key) in [
        ("10.0", "11.0", "speed_x = 11"),
        ("seed = 3", "seed = 4", "seed = 4"),
    ] {
        let path = folder.with("scenario.toml", WORLD.replace(from, to));
        let error = Scenario::load(&path, 60_000).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn a_noack_event_silences_the_chip_for_its_time_after_the_start() {
    let folder = Folder::new();
    let text = "
        [[chip]]
        kind = 'tmp117'
        address = 0x48
        base_deg_c = 4.0
        event = [{ kind = 'noack', at_s = 10.0, for_s = 5.0 }]
    ";
    let world = Scenario::load(&folder.with("scenario.toml", text), 7000).unwrap();
    let answers = |t_ms| {
        world.bus.advance_to(t_ms);
        world.bus.message_write(0x48, &[0]).is_ok()
    };
    let expected = [
        (16_999, true),
        (17_000, false),
        (21_999, false),
        (22_000, true),
    ];
    for (t_ms, answer) in expected {
        assert_eq!(answers(t_ms), answer, "at {t_ms}");
    }
}

#[test]
fn a_mistake_is_answered_with_its_key_its_value_and_what_is_allowed() {
    let folder = Folder::new();
    folder.with("drive.log", log(3));
    folder.with("empty.log", "$GPTXT,nothing\n");
    let chip = |rest: &str| format!("[[chip]]\nkind = 'tmp117'\naddress = 0x48\n{rest}\n");
    let receiver = |rest: &str| format!("[[chip]]\nkind = 'ublox'\naddress = 0x42\n{rest}\n");
    let cases: [(String, &[&str]); 21] = [
        ("seed = 1".into(), &["chip", "at least one"]),
        ("sped_x = 2.0".into(), &["sped_x", "speed_x"]),
        (
            format!("speed_x = 0.0\n{}", chip("base_deg_c = 1.0")),
            &["speed_x = 0", "0.001 to 100000"],
        ),
        (
            format!("speed_x = nan\n{}", chip("base_deg_c = 1.0")),
            &["speed_x = NaN", "0.001"],
        ),
        (chip(""), &["base_deg_c"]),
        (chip("base_deg_c = 'warm'"), &["warm"]),
        (
            chip("base_deg_c = 900.0"),
            &["chip[0].base_deg_c = 900", "-250 to 250 degC"],
        ),
        (
            chip("base_deg_c = 1.0\nnoise = 3"),
            &["noise", "noise_lsb_rms"],
        ),
        (
            chip("base_deg_c = 1.0\nevent = [{ kind = 'noack', at_s = 1.0, for_s = 0.0 }]"),
            &["chip[0].event[0].for_s = 0", "0.001"],
        ),
        (
            chip("base_deg_c = 1.0\nevent = [{ kind = 'melt', at_s = 1.0 }]"),
            &["melt", "runaway"],
        ),
        (
            chip("base_deg_c = 1.0").replace("0x48", "0x80"),
            &["chip[0].address = 0x80", "0x77"],
        ),
        (
            chip("base_deg_c = 1.0").repeat(2),
            &["chip[1].address = 0x48", "of its own"],
        ),
        (receiver(""), &["chip[0].replay", "replay or route"]),
        (
            receiver("replay = 'drive.log'\ngeneration = 'm8'"),
            &["chip[0].generation = m8"],
        ),
        (
            receiver("replay = 'empty.log'"),
            &["empty.log", "no RMC, GGA or NAV-PVT"],
        ),
        (receiver("replay = 'absent.log'"), &["absent.log"]),
        (
            receiver("replay = 'drive.log'\nevent = [{ kind = 'brownout', at_s = 1.0 }]"),
            &[
                "chip[0].event[0].kind = brownout",
                "reset, filler, antennaopen",
            ],
        ),
        (
            chip("base_deg_c = 1.0\nevent = [{ kind = 'wireopen', at_s = 1.0, for_s = 1.0 }]"),
            &["chip[0].event[0].kind = wireopen", "runaway, door"],
        ),
        (
            chip(
                "base_deg_c = 1.0\nevent = [{ kind = 'stretch', at_s = 1.0, for_s = 1.0, one_in = 0 }]",
            ),
            &["chip[0].event[0].one_in = 0", "1 or more"],
        ),
        (
            chip("base_deg_c = 1.0\nhumidity_percent = 50.0"),
            &["chip[0].humidity_percent = 50", "sht4x only"],
        ),
        (
            chip("base_deg_c = 1.0\ncold_deg_c = 50.0"),
            &["chip[0].cold_deg_c = 50", "mcp9600"],
        ),
    ];
    for (text, expected) in cases {
        let message = folder.refused(&text);
        for part in expected {
            assert!(message.contains(part), "{text}\n-> {message}");
        }
    }
}

#[test]
fn another_file_in_place_of_the_truth_file_stops_the_start() {
    let folder = Folder::new();
    folder.with("drive.log", log(3));
    folder.with("truth.jsonl", "notes\n");
    let path = folder.with("scenario.toml", WORLD);
    let error = Scenario::load(&path, 1).unwrap_err().to_string();
    assert!(error.contains("truth.jsonl"), "{error}");
}
