//! The fleet desk: who is told of what, by real processes and real receivers.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use firmware_shared::alert::{Alert, AlertState, Severity};
use firmware_shared::id::{DeviceId, Epoch};
use firmware_shared::topic::{self, Leaf};
use libtest_mimic::Trial;
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use tests::authority::Authority;
use tests::fleet::{Centre, CentreSetup, PATIENCE};
use tests::link::free_port;
use tests::process::Program;
use tests::receiver::{Mood, Receiver};
use tests::store::Store;
use tests::wait;

use crate::bad_input::Publisher;
use crate::needs::{self, Peers};
use crate::world::{World, central};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = needs::each_broker("desk::an_mqtt_route_tells_each_group", mqtt_route);
    trials.extend([
        needs::nothing(
            "desk::https_and_starttls_reach_whom_our_authority_vouches_for_and_nobody_else",
            over_tls,
        ),
        needs::nothing(
            "desk::webhook_mail_and_mqtt_are_told_with_the_same_key",
            every_route,
        ),
        needs::nothing(
            "desk::kill_9_with_notifications_in_flight_loses_none_and_keeps_their_keys",
            killed_in_flight,
        ),
        needs::nothing(
            "desk::a_restored_desk_knows_who_acknowledged_and_tells_the_rest_with_the_same_key",
            desk_restored,
        ),
        needs::nothing(
            "desk::a_webhook_that_hangs_or_fails_delays_no_other",
            hanging_webhook,
        ),
        needs::nothing(
            "desk::people_acknowledge_note_and_list_at_a_shell",
            at_a_shell,
        ),
        needs::program(
            "desk::an_alertmanager_fires_and_resolves",
            "prometheus-alertmanager",
            alertmanager,
        ),
    ]);
    trials
}

fn alert(device: &str, seq: u64, first: u64, state: AlertState) -> anyhow::Result<Vec<u8>> {
    let bad = |_| anyhow::anyhow!("too long");
    let alert = Alert {
        id: format!("{device}-1-{first}")
            .as_str()
            .try_into()
            .map_err(bad)?,
        device: device
            .parse::<DeviceId>()
            .map_err(|error| anyhow::anyhow!("{error}"))?,
        epoch: Epoch::from_number(1).context("epoch")?,
        seq,
        state,
        severity: Severity::Critical,
        kind: "limit_high".try_into().map_err(bad)?,
        sensor: "load".try_into().map_err(bad)?,
        value: Some(9.5),
        unit: "degC".try_into().map_err(bad)?,
        expected: Some(4.0),
        low: None,
        high: Some(8.0),
        boottime_ms: 77_000 + seq,
        utc: None,
        late: false,
        window: None,
        text: "The load is too warm.".try_into().map_err(bad)?,
        score: None,
        duration_ms: None,
        heads: Default::default(),
        load_id: None,
        profile_version: None,
    };
    Ok(serde_json::to_vec(&alert)?)
}

fn say(
    publisher: &mut Publisher,
    device: &str,
    seq: u64,
    first: u64,
    state: AlertState,
) -> anyhow::Result<()> {
    let id: DeviceId = device.parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    let topic = topic::topic("fleet/v1", &id, Leaf::Alert).context("topic")?;
    publisher.publish(&topic, &alert(device, seq, first, state)?)
}

fn centre(folder: &Path, more: &str) -> anyhow::Result<Centre> {
    let setup = CentreSetup {
        more: more.to_owned(),
        ..CentreSetup::default()
    };
    let mut centre = Centre::new(central(), folder, free_port()?, &setup)?;
    centre.start()?;
    Ok(centre)
}

fn webhook(name: &str, port: u16, more: &str) -> String {
    format!(
        "[[route]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"http://127.0.0.1:{port}/hook\"\n{more}\n"
    )
}

fn secret(file: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, text)?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}

fn wait_for_keys(receiver: &Receiver, keys: &[&str]) -> anyhow::Result<()> {
    wait::until_true(&format!("{keys:?}"), PATIENCE, || {
        let taken = receiver.keys();
        Ok(keys
            .iter()
            .all(|key| taken.iter().any(|known| known == key)))
    })
    .with_context(|| format!("{:?}", receiver.keys()))
}

fn every_route() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (http, smtp) = (Receiver::http()?, Receiver::smtp()?);
    std::fs::create_dir_all(folder.path().join("centre"))?;
    secret(&folder.path().join("centre/key"), "hush\n")?;
    let more = format!(
        "[[group]]\nname = \"cold\"\ndevices = [\"truck-*\"]\n\n{}\n[[route]]\nname = \"mail\"\nkind = \"smtp\"\n\
         host = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"Desk <desk@example.org>\"\n\
         to = [\"ann@example.org\"]\n\n[[route]]\nname = \"bus\"\nkind = \"mqtt\"\n",
        webhook("hook", http.port(), "key_file = \"key\"\n"),
        smtp.port()
    );
    let centre = centre(&folder.path().join("centre"), &more)?;
    let config = folder.path().join("centre/central.toml");
    let args = [
        "alerts", "--follow", "--group", "cold", "--json", "--config",
    ];
    let mut follow = centre
        .command(&args)
        .arg(&config)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::new(follow.stdout.take().context("stdout")?).lines();
    let mut publisher = Publisher::connect(centre.port())?;
    // The follower has subscribed when it hears the first one; each is another sensor's to the desk.
    let (found_in, found) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            found_in.send(line).ok();
        }
    });
    let mut seq = 0;
    let first_line = wait::until("the follower hears the desk", PATIENCE, || {
        say(
            &mut publisher,
            &format!("truck-{seq:03}"),
            0,
            0,
            AlertState::Raised,
        )?;
        seq += 1;
        Ok(found.recv_timeout(Duration::from_millis(500)).ok())
    });
    follow.kill()?;
    follow.wait()?;
    let heard: serde_json::Value = serde_json::from_str(&first_line?)?;
    anyhow::ensure!(heard["alert"]["groups"][0] == "cold", "{heard}");
    say(&mut publisher, "truck-000", 1, 0, AlertState::Cleared)?;
    for receiver in [&http, &smtp] {
        wait_for_keys(receiver, &["truck-000-1-0/raised", "truck-000-1-0/cleared"])?;
    }
    let request = http.seen().into_iter().next().context("a request")?;
    let body: serde_json::Value = serde_json::from_str(&request.body)?;
    anyhow::ensure!(body["key"] == "truck-000-1-0/raised", "{body}");
    anyhow::ensure!(body["alert"]["text"] == "The load is too warm.", "{body}");
    let signature = hmac_sha256(b"hush", request.body.as_bytes());
    anyhow::ensure!(
        request.headers.get("x-fleet-signature") == Some(&format!("sha256={signature}")),
        "{:?} is not {signature}",
        request.headers
    );
    let mail = smtp.seen().into_iter().next().context("a mail")?;
    anyhow::ensure!(mail.body.contains("The load is too warm."), "{}", mail.body);
    anyhow::ensure!(
        mail.headers
            .get("subject")
            .is_some_and(|s| s.contains("[critical] truck-000 limit_high load raised")),
        "{:?}",
        mail.headers
    );
    Ok(())
}

/// HMAC by its definition, so that the check does not share code with what it checks.
fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let pad = |byte: u8| block.iter().map(|b| b ^ byte).collect::<Vec<u8>>();
    let inner = sha256(&[pad(0x36), message.to_vec()].concat());
    let outer = sha256(&[pad(0x5c), inner.to_vec()].concat());
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(message: &[u8]) -> [u8; 32] {
    // FIPS 180-4; the constants are the fractional parts of roots of primes.
    let primes: Vec<u32> = (2..312_u32)
        .filter(|n| (2..*n).all(|d| n % d != 0))
        .collect();
    let fraction = |root: f64| ((root - root.floor()) * 4_294_967_296.0) as u32;
    let constants: Vec<u32> = primes
        .iter()
        .map(|p| fraction(f64::from(*p).cbrt()))
        .collect();
    let mut state: Vec<u32> = primes
        .iter()
        .take(8)
        .map(|p| fraction(f64::from(*p).sqrt()))
        .collect();
    let mut bytes = message.to_vec();
    bytes.push(0x80);
    while bytes.len() % 64 != 56 {
        bytes.push(0);
    }
    bytes.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    for block in bytes.chunks(64) {
        let mut words: Vec<u32> = block
            .chunks(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect();
        for i in 16..64 {
            let (a, b) = (words[i - 15], words[i - 2]);
            let s0 = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
            let s1 = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
            let sum = words[i - 16].wrapping_add(s0).wrapping_add(words[i - 7]);
            words.push(sum.wrapping_add(s1));
        }
        let mut v = state.clone();
        for i in 0..64 {
            let s1 = v[4].rotate_right(6) ^ v[4].rotate_right(11) ^ v[4].rotate_right(25);
            let choice = (v[4] & v[5]) ^ (!v[4] & v[6]);
            let t1 = v[7]
                .wrapping_add(s1)
                .wrapping_add(choice)
                .wrapping_add(constants[i])
                .wrapping_add(words[i]);
            let s0 = v[0].rotate_right(2) ^ v[0].rotate_right(13) ^ v[0].rotate_right(22);
            let majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);
            let t2 = s0.wrapping_add(majority);
            v.rotate_right(1);
            v[4] = v[4].wrapping_add(t1);
            v[0] = t1.wrapping_add(t2);
        }
        for (sum, word) in state.iter_mut().zip(v) {
            *sum = sum.wrapping_add(word);
        }
    }
    let digest: Vec<u8> = state.iter().flat_map(|word| word.to_be_bytes()).collect();
    digest.try_into().unwrap()
}

fn over_tls() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let place = folder.path().join("centre");
    let (ours, strange) = (
        Authority::new(&folder.path().join("ours"))?,
        Authority::new(&folder.path().join("strange"))?,
    );
    for authority in [&ours, &strange] {
        authority.issue("server")?;
    }
    let known = Receiver::https(ours.server("server")?)?;
    let stranger = Receiver::https(strange.server("server")?)?;
    let mail = Receiver::smtp_starttls(ours.server("server")?)?;
    std::fs::create_dir_all(&place)?;
    secret(&place.join("password"), "hush\n")?;
    secret(&place.join("token"), "let-me-in\n")?;
    let ca = ours.folder().join("ca.crt");
    let https = |name: &str, port: u16| {
        format!(
            "[[route]]\nname = \"{name}\"\nkind = \"webhook\"\nurl = \"https://127.0.0.1:{port}/hook\"\n\
             token_file = \"token\"\nca_file = {ca:?}\n"
        )
    };
    let more = format!(
        "{}{}[[route]]\nname = \"mail\"\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\n\
         username = \"ann\"\npassword_file = \"password\"\nca_file = {ca:?}\nfrom = \"desk@example.org\"\n\
         to = [\"ann@example.org\"]\n",
        https("known", known.port()),
        https("stranger", stranger.port()),
        mail.port()
    );
    let centre = centre(&place, &more)?;
    let mut publisher = Publisher::connect(centre.port())?;
    say(&mut publisher, "truck-000", 0, 0, AlertState::Raised)?;
    for receiver in [&known, &mail] {
        wait_for_keys(receiver, &["truck-000-1-0/raised"])?;
    }
    let request = known.seen().into_iter().next().context("a request")?;
    let token = request.headers.get("authorization");
    anyhow::ensure!(
        token.is_some_and(|token| token == "Bearer let-me-in"),
        "{token:?}"
    );
    let mail = mail.seen().into_iter().next().context("a mail")?;
    // The word of RFC 4616, by hand: NUL ann NUL hush in base64.
    let login = mail.headers.get("auth");
    anyhow::ensure!(
        login.is_some_and(|login| login == "AUTH PLAIN AGFubgBodXNo"),
        "{login:?}"
    );
    wait::until_true("the stranger was refused", PATIENCE, || {
        let log = std::fs::read_to_string(centre.log())?;
        Ok(log.contains("stranger"))
    })?;
    anyhow::ensure!(stranger.seen().is_empty(), "{:?}", stranger.seen());
    Ok(())
}

fn mqtt_route(peers: &Peers) -> anyhow::Result<()> {
    let more = "[[group]]\nname = \"cold\"\ndevices = [\"truck-*\"]\n\n[[group]]\nname = \"north\"\n\
                devices = [\"truck-00*\"]\n\n[[route]]\nname = \"bus\"\nkind = \"mqtt\"\n";
    let setup = CentreSetup {
        more: more.to_owned(),
        ..CentreSetup::default()
    };
    let world = World::over(peers, &[], "", setup)?;
    let heard = subscribe(world.centre.port(), "fleet/v1/alerts/#")?;
    let mut publisher = Publisher::connect(world.centre.port())?;
    say(&mut publisher, "truck-001", 0, 0, AlertState::Raised)?;
    say(&mut publisher, "van-001", 0, 0, AlertState::Raised)?;
    let mut missing = BTreeSet::from([
        ("fleet/v1/alerts/cold/critical", "truck-001-1-0/raised"),
        ("fleet/v1/alerts/north/critical", "truck-001-1-0/raised"),
        ("fleet/v1/alerts/none/critical", "van-001-1-0/raised"),
    ]);
    wait::until_true("every group is told", PATIENCE, || {
        if let Ok((topic, payload)) = heard.recv_timeout(Duration::from_millis(200)) {
            let body: serde_json::Value = serde_json::from_slice(&payload)?;
            let key = body["key"].as_str().context("no key")?;
            missing.retain(|known| *known != (topic.as_str(), key));
        }
        Ok(missing.is_empty())
    })
    .with_context(|| format!("{missing:?}"))
}

/// Everything that any client of this broker would hear, from the moment at which it has subscribed.
fn subscribe(port: u16, filter: &str) -> anyhow::Result<Receiving> {
    let mut options = MqttOptions::new("display", "127.0.0.1", port);
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut connection) = Client::new(options, 16);
    client.subscribe(filter, QoS::AtLeastOnce)?;
    let (told_in, told) = std::sync::mpsc::sync_channel(1);
    let (found_in, found) = std::sync::mpsc::sync_channel(64);
    std::thread::spawn(move || {
        while let Ok(Ok(event)) = connection.recv() {
            let is_over = match event {
                Event::Incoming(Packet::SubAck(_)) => told_in.try_send(()).is_err(),
                Event::Incoming(Packet::Publish(publish)) => {
                    let said = (publish.topic.clone(), publish.payload.to_vec());
                    found_in.send(said).is_err()
                }
                _ => false,
            };
            if is_over {
                return;
            }
        }
    });
    told.recv_timeout(PATIENCE).context("not subscribed")?;
    Ok(Receiving {
        found,
        _client: client,
    })
}

/// A subscription that lasts as long as this.
struct Receiving {
    found: std::sync::mpsc::Receiver<(String, Vec<u8>)>,
    _client: Client,
}

impl std::ops::Deref for Receiving {
    type Target = std::sync::mpsc::Receiver<(String, Vec<u8>)>;

    fn deref(&self) -> &Self::Target {
        &self.found
    }
}

fn killed_in_flight() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let http = Receiver::http()?;
    http.set_mood(Mood::Hangs);
    let more = format!(
        "{}[desk]\ncollapse_count = 1000\n",
        webhook("hook", http.port(), "")
    );
    let mut centre = centre(folder.path(), &more)?;
    let mut publisher = Publisher::connect(centre.port())?;
    let mut expected = Vec::new();
    for number in 0..20 {
        let device = format!("truck-{number:03}");
        say(&mut publisher, &device, 0, 0, AlertState::Raised)?;
        expected.push(format!("{device}-1-0/raised"));
    }
    // A vehicle would send again what the centre has not committed; this publisher does not.
    wait::until_true("all are committed, some in flight", PATIENCE, || {
        let stored = Store::at(centre.place())?.number("SELECT count(*) FROM alerts")?;
        Ok(stored == 20 && http.seen().len() >= 4)
    })?;
    let in_flight = http.seen();
    centre.kill_9()?;
    http.set_mood(Mood::Takes);
    centre.start()?;
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    wait_for_keys(&http, &expected)?;
    for request in &in_flight {
        let again = http
            .seen()
            .into_iter()
            .find(|other| {
                other.is_taken
                    && other.headers["idempotency-key"] == request.headers["idempotency-key"]
            })
            .context("what was in flight comes again")?;
        anyhow::ensure!(
            again.body == request.body,
            "the same bytes under the same key"
        );
    }
    let keys = http.keys();
    anyhow::ensure!(
        keys.len() == expected.len(),
        "each once after the kill: {keys:?}"
    );
    Ok(())
}

/// The run-book's "Restore", with the desk's own file.
fn desk_restored() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let http = Receiver::http()?;
    let mut centre = centre(folder.path(), &webhook("hook", http.port(), ""))?;
    let mut publisher = Publisher::connect(centre.port())?;
    say(&mut publisher, "truck-000", 0, 0, AlertState::Raised)?;
    wait_for_keys(&http, &["truck-000-1-0/raised"])?;
    let config = folder.path().join("central.toml");
    let done = |centre: &Centre, args: &[&str]| -> anyhow::Result<String> {
        let output = centre.command(args).output()?;
        anyhow::ensure!(output.status.success(), "{args:?}: {output:?}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let config = config.display().to_string();
    for what in [
        &["alerts", "ack", "truck-000-1-0"][..],
        &["alerts", "note", "truck-000-1-0", "on my way"],
    ] {
        let who = ["--who", "ann", "--config", &config];
        done(&centre, &[what, &who].concat())?;
    }
    let database = centre.database();
    let files = [database.clone(), database.with_extension("desk.sqlite")];
    let files = files.map(|file| {
        let backup = file.with_extension("backup");
        (file.display().to_string(), backup.display().to_string())
    });
    for (file, backup) in &files {
        done(&centre, &["backup", "--db", file, "--to", backup])?;
    }
    // After the backup: somebody is told of it, and the centre forgets that.
    say(&mut publisher, "truck-001", 0, 0, AlertState::Raised)?;
    wait_for_keys(&http, &["truck-001-1-0/raised"])?;
    for (file, backup) in &files {
        let early = centre.command(&["restore", "--db", file, "--from", backup]);
        anyhow::ensure!(!{ early }.output()?.status.success(), "it is in use");
    }
    centre.kill_9()?;
    let mixed = ["restore", "--db", &files[1].0, "--from", &files[0].1];
    let mixed = centre.command(&mixed).output()?;
    anyhow::ensure!(!mixed.status.success(), "the one in the place of the other");
    for (file, backup) in &files {
        done(&centre, &["restore", "--db", file, "--from", backup])?;
    }
    centre.start()?;
    let listed = || {
        done(
            &centre,
            &["alerts", "list", "--open", "--json", "--config", &config],
        )
    };
    let alerts = listed()?;
    anyhow::ensure!(!alerts.contains("truck-001"), "{alerts}");
    let alert: serde_json::Value = serde_json::from_str(alerts.trim())?;
    anyhow::ensure!(
        alert["acknowledged_by"] == "ann" && alert["notes"] == 1,
        "{alert}"
    );
    // The vehicle still holds it.
    let mut publisher = Publisher::connect(centre.port())?;
    say(&mut publisher, "truck-001", 0, 0, AlertState::Raised)?;
    let told = |key: &str| http.keys().iter().filter(|told| *told == key).count();
    wait::until_true("it is told again", PATIENCE, || {
        Ok(told("truck-001-1-0/raised") == 2)
    })?;
    anyhow::ensure!(told("truck-000-1-0/raised") == 1, "nobody is called twice");
    Ok(())
}

fn hanging_webhook() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (hangs, fails, quick) = (Receiver::http()?, Receiver::http()?, Receiver::http()?);
    hangs.set_mood(Mood::Hangs);
    fails.set_mood(Mood::Fails);
    let more = [
        webhook("hangs", hangs.port(), "timeout_ms = 60000\n"),
        webhook("fails", fails.port(), ""),
        webhook("quick", quick.port(), ""),
    ]
    .concat();
    let centre = centre(folder.path(), &more)?;
    let mut publisher = Publisher::connect(centre.port())?;
    for number in 0..8 {
        let device = format!("truck-{number:03}");
        say(&mut publisher, &device, 0, 0, AlertState::Raised)?;
        // The others need not wait for the minute that the hanging one is given.
        wait_for_keys(&quick, &[&format!("{device}-1-0/raised")])?;
    }
    anyhow::ensure!(hangs.keys().is_empty() && fails.keys().is_empty());
    fails.set_mood(Mood::Takes);
    wait_for_keys(&fails, &["truck-000-1-0/raised", "truck-007-1-0/raised"])?;
    anyhow::ensure!(fails.keys().len() == 8, "{:?}", fails.keys());
    Ok(())
}

fn at_a_shell() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut centre = centre(folder.path(), "")?;
    let mut publisher = Publisher::connect(centre.port())?;
    say(&mut publisher, "truck-000", 0, 0, AlertState::Raised)?;
    let config = folder.path().join("central.toml");
    let run = |args: &[&str]| {
        let output = centre.command(args).arg("--config").arg(&config).output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        anyhow::Ok((
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        ))
    };
    let list = ["alerts", "list", "--open", "--json"];
    wait::until_true("the alert is listed", PATIENCE, || {
        Ok(run(&list)?.1.contains("truck-000-1-0"))
    })?;
    let ack = run(&["alerts", "ack", "truck-000-1-0", "--who", "ann"])?;
    anyhow::ensure!(
        ack == (Some(0), "done\n".to_owned(), String::new()),
        "{ack:?}"
    );
    let note = run(&[
        "alerts",
        "note",
        "truck-000-1-0",
        "on my way",
        "--who",
        "ann",
    ])?;
    anyhow::ensure!(note.0 == Some(0), "{note:?}");
    let unknown = run(&["alerts", "ack", "nothing", "--who", "ann"])?;
    anyhow::ensure!(
        unknown.0 == Some(1) && unknown.2.contains("no alert"),
        "{unknown:?}"
    );
    let listed: serde_json::Value = serde_json::from_str(run(&list)?.1.trim())?;
    anyhow::ensure!(
        listed["acknowledged_by"] == "ann" && listed["notes"] == 1,
        "{listed}"
    );
    anyhow::ensure!(run(&["alerts", "list", "--unacknowledged"])?.1.is_empty());
    centre.kill_9()?;
    let line = run_line(&centre, &config)?;
    anyhow::ensure!(line.contains("acknowledged by ann"), "{line}");
    Ok(())
}

fn run_line(centre: &Centre, config: &Path) -> anyhow::Result<String> {
    let args = ["alerts", "list", "--config"];
    let output = centre.command(&args).arg(config).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn alertmanager(program: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("alertmanager.yml");
    std::fs::write(
        &config,
        "route:\n  receiver: none\nreceivers:\n  - name: none\n",
    )?;
    let port = free_port()?;
    let args = [
        format!("--config.file={}", config.display()),
        format!("--storage.path={}", folder.path().join("am").display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        "--cluster.listen-address=".to_owned(),
    ];
    let log = folder.path().join("alertmanager.log");
    let mut process = Program::new(program).start("alertmanager", args, &log)?;
    let get = |path: &str| get(port, path);
    wait::until_true("the alertmanager is ready", PATIENCE, || {
        process.assert_running()?;
        Ok(get("/-/ready").is_ok_and(|answer| answer.contains("200 OK")))
    })?;
    let more = format!(
        "[[route]]\nname = \"am\"\nkind = \"alertmanager\"\nurl = \"http://127.0.0.1:{port}\"\n"
    );
    let centre = centre(&folder.path().join("centre"), &more)?;
    let mut publisher = Publisher::connect(centre.port())?;
    say(&mut publisher, "truck-000", 0, 0, AlertState::Raised)?;
    let active = || -> anyhow::Result<serde_json::Value> {
        let answer = get("/api/v2/alerts")?;
        let body = answer.split_once("\r\n\r\n").context("a body")?.1;
        Ok(serde_json::from_str(body)?)
    };
    let fires = wait::until("it fires", PATIENCE, || {
        let alerts = active()?;
        Ok(alerts.as_array().filter(|list| list.len() == 1).cloned())
    })?;
    anyhow::ensure!(fires[0]["labels"]["alertname"] == "limit_high", "{fires:?}");
    anyhow::ensure!(fires[0]["labels"]["device"] == "truck-000", "{fires:?}");
    anyhow::ensure!(
        fires[0]["annotations"]["summary"] == "The load is too warm.",
        "{fires:?}"
    );
    say(&mut publisher, "truck-000", 1, 0, AlertState::Cleared)?;
    wait::until_true("it resolves", PATIENCE, || {
        Ok(active()?.as_array().is_some_and(Vec::is_empty))
    })
}

/// The whole answer to a GET; the connection is closed behind it and the body is not in chunks.
fn get(port: u16, path: &str) -> anyhow::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nhost: 127.0.0.1\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
