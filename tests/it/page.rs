//! The page in a real browser, over real vehicles, and what the page's server must not do to the ingest.

mod looks;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tests::browser::{Browser, Screen};
use tests::dice::Dice;
use tests::fleet::{CentreSetup, PATIENCE, Setup, thermometer};
use tests::link::{Link, free_port};
use tests::{wait, web};

use crate::needs::{self, Peers};
use crate::world::{self, World};
use looks::{check_looks, watch_shifts};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        needs::chromium(
            "page::each_view_shows_live_data_and_an_acknowledgement",
            views,
        ),
        needs::chromium(
            "page::a_lost_connection_resumes_without_missing_or_repeating_an_event",
            resumes,
        ),
        needs::chromium("page::a_role_decides_what_somebody_can_do", roles),
        needs::nothing("page::rude_guests_leave_the_ingest_alone", rude),
        needs::postgres("page::postgresql_gives_the_same_answers", over_postgres),
    ]
}

/// Where the pictures are kept.
fn pictures() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
    target.unwrap_or_else(beside).join("screenshots")
}

/// A centre with a page, and these vehicles, not started. `more` are further lines of `[http]`.
fn with_page(peers: &Peers, setups: &[Setup], more: &str) -> anyhow::Result<(World, u16)> {
    let port = free_port()?;
    let setup = CentreSetup {
        more: format!("[http]\nlisten = \"127.0.0.1:{port}\"\n{more}\n"),
        ..CentreSetup::default()
    };
    let world = World::over(peers, setups, "", setup)?;
    wait::until_true("the page is ready", PATIENCE, || {
        Ok(web::request(port, "GET", "/readyz", "", None).is_ok_and(|answer| answer.status == 200))
    })?;
    Ok((world, port))
}

/// A vehicle whose load becomes too warm a second after its start, and stays so while a browser takes its time.
fn warm(number: usize) -> Setup {
    let mut setup = world::setup(number);
    let door = "[[chip.event]]\nkind = \"door\"\nat_s = 20\nfor_s = 36000\nrise_deg_c = 9.0\n";
    let limit = "limit_high_deg_c = 8.0\nseverity = \"critical\"\n";
    setup.sensors[0] = thermometer("load", 0x48, door, limit);
    setup
}

/// The alerts that a question gives.
fn alerts(port: u16, query: &str) -> anyhow::Result<Vec<Value>> {
    let list = web::get(port, &format!("/api/v1/alerts?{query}"))?;
    Ok(list["alerts"].as_array().cloned().unwrap_or_default())
}

fn first_alert(port: u16, query: &str) -> anyhow::Result<Value> {
    wait::until("an alert at the desk", PATIENCE, || {
        Ok(alerts(port, query)?.into_iter().next())
    })
}

fn views() -> anyhow::Result<()> {
    let setups = [world::setup(1), warm(2), world::setup(3)];
    let (mut world, port) = with_page(&Peers::default(), &setups, "")?;
    world.start()?;
    world.wait_for_rows("truck-002", 200)?;
    // An outage: what is measured in it comes behind what is measured after it.
    world.link.cut();
    world.wait_for_some_truth(600)?;
    world.link.restore();
    first_alert(port, "device=truck-002&open=true")?;
    world.wait_for_rows("truck-002", 400)?;

    let desktop = Browser::start(Screen::Desktop)?;
    fleet_view(&desktop, port)?;
    vehicle_view(&desktop)?;
    alert_view(&desktop, port)?;
    health_view(&desktop)?;
    look_around(&desktop, port, "desktop")?;
    drop(desktop);
    let phone = Browser::start(Screen::Phone)?;
    phone.open(&format!("http://127.0.0.1:{port}/"))?;
    look_around(&phone, port, "phone")?;
    Ok(())
}

/// Every view, light and dark: nothing overlaps or is cut, contrasts are enough; a picture of each.
fn look_around(browser: &Browser, port: u16, screen: &str) -> anyhow::Result<()> {
    for theme in ["light", "dark"] {
        browser.open(&format!("http://127.0.0.1:{port}/"))?;
        browser.run(&format!(
            "localStorage.setItem('theme', '{theme}'); return true"
        ))?;
        for (name, hash, there) in [
            ("fleet", "#/fleet", ".vehicles li"),
            (
                "vehicle",
                "#/vehicle/truck-002",
                ".chart[data-buckets] canvas",
            ),
            ("alerts", "#/alerts", ".alerts[data-count]"),
            ("health", "#/health", ".health tbody tr"),
        ] {
            browser.open("about:blank")?;
            browser.open(&format!("http://127.0.0.1:{port}/{hash}"))?;
            let script = format!("return document.querySelectorAll('{there}').length");
            browser.wait_for(&format!("the {name} view"), &script)?;
            let drawn = "return !document.querySelector('.map') || document.querySelectorAll('.map canvas').length";
            browser.wait_for("the map", drawn)?;
            let file = pictures().join(format!("{name}-{screen}-{theme}.png"));
            browser.screenshot(&file)?;
            check_looks(browser)
                .with_context(|| format!("{name}, {screen}, {theme}: {}", file.display()))?;
        }
    }
    browser
        .run("localStorage.removeItem('theme'); return true")
        .map(drop)
}

fn fleet_view(browser: &Browser, port: u16) -> anyhow::Result<()> {
    browser.open(&format!("http://127.0.0.1:{port}/"))?;
    browser.wait_for(
        "three vehicles in the list",
        "return document.querySelectorAll('.vehicles li').length === 3",
    )?;
    browser.wait_for(
        "a live stream",
        "return document.getElementById('live').dataset.state === 'live'",
    )?;
    let worst = browser.wait_for(
        "the worst one on top",
        "const row = document.querySelector('.vehicles .row'); return row.dataset.state === 'critical' && row.querySelector('.name').textContent",
    )?;
    anyhow::ensure!(worst == "truck-002", "on top is {worst}");
    watch_shifts(browser)?;
    browser.run("window.before = document.querySelector('.vehicles').innerText; return true")?;
    browser.wait_for(
        "values that change by themselves",
        "return document.querySelector('.vehicles').innerText !== window.before && globalThis.fleetLive.vehicles.size === 3",
    )?;
    let value = "return [...document.querySelectorAll('.vehicles .number')].every((cell) => / (°C|s|min)$/.test(cell.textContent))";
    browser.wait_for("every number has its unit", value)?;
    let shift = browser
        .run("return window.shift")?
        .as_f64()
        .context("no shift")?;
    anyhow::ensure!(shift == 0.0, "live updates moved the layout by {shift}");
    Ok(())
}

fn vehicle_view(browser: &Browser) -> anyhow::Result<()> {
    browser.run("document.querySelector('.vehicles a').click(); return true")?;
    browser.wait_for(
        "a chart of many buckets",
        "const chart = document.querySelector('.chart'); return chart && chart.dataset.buckets > 20",
    )?;
    browser.wait_for(
        "how complete it is",
        "return /^Complete up to \\d/.test(document.getElementById('complete').textContent)",
    )?;
    browser.wait_for(
        "its alerts",
        "return document.querySelectorAll('.alert').length",
    )?;
    browser.run("window.before = document.querySelector('.note').textContent; return true")?;
    browser.wait_for(
        "a chart that moves on",
        "return document.querySelector('.note').textContent !== window.before",
    )?;
    Ok(())
}

fn alert_view(browser: &Browser, port: u16) -> anyhow::Result<()> {
    browser.run("location.hash = '#/alerts'; return true")?;
    browser.wait_for(
        "an alert",
        "return document.querySelectorAll('main .alert .primary').length",
    )?;
    browser.run("document.querySelector('main .alert .primary').click(); return true")?;
    browser.wait_for(
        "the acknowledgement",
        "return /acknowledged by local/.test(document.querySelector('main .alert .facts').textContent)",
    )?;
    browser.run(
        "[...document.querySelectorAll('main .alert button')].find((one) => one.textContent === 'Note').click(); \
         document.getElementById('note-text').value = 'The driver looks after it.'; \
         document.querySelector('dialog .primary').click(); return true",
    )?;
    browser.wait_for(
        "the note",
        "return /driver looks/.test(document.querySelector('main .notes').textContent)",
    )?;
    let acknowledged = alerts(port, "acknowledged=true")?;
    anyhow::ensure!(acknowledged.len() == 1, "{acknowledged:?}");
    let audit = web::get(port, "/api/v1/audit")?.to_string();
    anyhow::ensure!(
        audit.contains("acknowledge") && audit.contains("local"),
        "{audit}"
    );
    let link = browser.run("return document.querySelector('a[download]').getAttribute('href')")?;
    let csv = web::request(port, "GET", link.as_str().context("no link")?, "", None)?;
    anyhow::ensure!(
        csv.body.starts_with("id,device,") && csv.body.contains("truck-002"),
        "{csv:?}"
    );
    Ok(())
}

fn health_view(browser: &Browser) -> anyhow::Result<()> {
    browser.run("location.hash = '#/health'; return true")?;
    browser.wait_for(
        "three gateways with a spool, a clock and a version",
        "const rows = [...document.querySelectorAll('.health tbody tr')]; \
         return rows.length === 3 && rows.every((row) => / (B|kB|MB)/.test(row.cells[3].textContent) \
         && row.cells[7].textContent.startsWith('gnss'))",
    )?;
    Ok(())
}

fn resumes() -> anyhow::Result<()> {
    let (mut world, port) = with_page(&Peers::default(), &[warm(1)], "")?;
    let link = Link::to(port)?;
    world.start()?;
    let alert = first_alert(port, "device=truck-001")?;
    let id = alert["id"].as_str().context("no id")?.to_owned();
    let say = |text: String| {
        let path = format!("/api/v1/alerts/{id}/notes");
        let answer = web::request(port, "POST", &path, "", Some(&json!({ "text": text })))?;
        anyhow::ensure!(answer.status == 200, "{answer:?}");
        Ok(())
    };
    let browser = Browser::start(Screen::Desktop)?;
    browser.open(&format!("http://127.0.0.1:{}/", link.port()))?;
    browser.wait_for(
        "a live stream",
        "return document.getElementById('live').dataset.state === 'live'",
    )?;
    let hello = web::Events::open(port, "/api/v1/events?after=0", "")?.next_event()?;
    anyhow::ensure!(hello.name == "hello", "{hello:?}");
    for number in 0..5 {
        say(format!("before {number}"))?;
    }
    browser.wait_for("events", "return globalThis.fleetLive.ids.length >= 5")?;
    for round in 0..3 {
        link.cut();
        browser.wait_for(
            "a lost connection",
            "return document.getElementById('live').dataset.state === 'lost'",
        )?;
        for number in 0..10 {
            say(format!("meanwhile {round} {number}"))?;
        }
        link.restore();
        for number in 0..5 {
            say(format!("after {round} {number}"))?;
        }
        browser.wait_for(
            "a live stream again",
            "return document.getElementById('live').dataset.state === 'live'",
        )?;
    }
    say("the last one".to_owned())?;
    let first = browser
        .run("return globalThis.fleetLive.ids[0]")?
        .as_i64()
        .context("no id")?;
    let expected = ids_until(port, first, "the last one")?;
    let last = *expected.last().context("no event")?;
    browser.wait_for(
        "the last event",
        &format!("return globalThis.fleetLive.ids.at(-1) >= {last}"),
    )?;
    let seen = browser.run("return globalThis.fleetLive.ids")?;
    let seen: Vec<i64> = serde_json::from_value(seen)?;
    let seen: Vec<i64> = seen.into_iter().filter(|id| *id <= last).collect();
    anyhow::ensure!(expected.len() > 45, "{expected:?}");
    anyhow::ensure!(
        seen == expected,
        "the page saw {seen:?}, the desk said {expected:?}"
    );
    Ok(())
}

/// Every id from this one on, as the stream itself gives them, up to the event with this text.
fn ids_until(port: u16, first: i64, text: &str) -> anyhow::Result<Vec<i64>> {
    let header = format!("last-event-id: {}\r\n", first - 1);
    let mut stream = web::Events::open(port, "/api/v1/events", &header)?;
    let mut ids = Vec::new();
    loop {
        let event = stream.next_event()?;
        ids.extend(event.id);
        if event.id.is_some() && event.data.contains(text) {
            return Ok(ids);
        }
    }
}

fn roles() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("users.toml");
    let mut text = String::new();
    for (name, role) in [("vera", "viewer"), ("otto", "operator")] {
        let mut child = world::central()
            .command(["user", name, "--role", role])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()?;
        child
            .stdin
            .take()
            .context("no stdin")?
            .write_all(b"a long password\n")?;
        let output = child.wait_with_output()?;
        anyhow::ensure!(output.status.success(), "{output:?}");
        text.push_str(&String::from_utf8(output.stdout)?);
    }
    std::fs::write(&file, text)?;
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let users = format!("users_file = \"{}\"\n", file.display());
    let (mut world, port) = with_page(&Peers::default(), &[warm(1)], &users)?;
    world.start()?;
    let nobody = web::request(port, "GET", "/api/v1/vehicles", "", None)?;
    anyhow::ensure!(nobody.status == 401, "{nobody:?}");
    let browser = Browser::start(Screen::Desktop)?;
    for (name, buttons) in [("vera", 0), ("otto", 1)] {
        browser.open("about:blank")?;
        browser.open(&format!("http://127.0.0.1:{port}/#/alerts"))?;
        browser.wait_for(
            "the login",
            "return document.querySelectorAll('.login').length",
        )?;
        if name == "vera" {
            browser.screenshot(&pictures().join("login-desktop-light.png"))?;
            check_looks(&browser)?;
        }
        browser.run(&format!(
            "document.getElementById('login-name').value = '{name}'; \
             document.getElementById('login-password').value = 'a long password'; \
             document.querySelector('.login .primary').click(); return true"
        ))?;
        browser.wait_for(
            "an alert",
            "return document.querySelectorAll('main .alert').length",
        )?;
        let found =
            browser.run("return document.querySelectorAll('main .alert .primary').length")?;
        anyhow::ensure!(found == buttons, "{name} sees {found} buttons");
        if buttons > 0 {
            browser.run("document.querySelector('main .alert .primary').click(); return true")?;
            browser.wait_for(
                "the acknowledgement",
                "return /acknowledged by otto/.test(document.querySelector('main .alert .facts').textContent)",
            )?;
        }
        browser.run("document.getElementById('logout').click(); return true")?;
        browser.wait_for(
            "the login again",
            "return document.querySelectorAll('.login').length",
        )?;
    }
    Ok(())
}

fn rude() -> anyhow::Result<()> {
    let more = "client_s_max = 1\nconnections_max = 64\nevents_max = 8\n";
    let (mut world, port) =
        with_page(&Peers::default(), &[world::setup(1), world::setup(2)], more)?;
    world.start()?;
    world.wait_for_rows("truck-001", 50)?;
    let mut dice = Dice::new(0x50a6e);
    let paths = [
        "/",
        "/api/v1/vehicles",
        "/api/v1/vehicles/truck-001/series",
        "/api/v1/alerts",
        "/api/v1/events",
        "/api/v1/login",
        "/api/v1/vehicles/truck-001/export",
        "/metrics",
        "/../../etc/passwd",
        "/web/app.js",
        "/api/v1/vehicles/%00/latest",
    ];
    let mut held = Vec::new();
    for round in 0..400_u32 {
        let path = paths[dice.below(paths.len())];
        let noise: Vec<u8> = (0..dice.below(600))
            .map(|_| dice.below(256) as u8)
            .collect();
        let text = String::from_utf8_lossy(&noise).into_owned();
        let request = match round % 8 {
            0 => noise,
            1 => format!("GET {path}?{text} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").into_bytes(),
            2 => format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 200000\r\nconnection: close\r\n\r\n{}", "x".repeat(200_000)).into_bytes(),
            3 => format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {text}\r\ncookie: fleet_session={text}\r\nconnection: close\r\n\r\n").into_bytes(),
            4 => format!("PATCH {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").into_bytes(),
            5 => format!("GET /{} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n", "y".repeat(40_000)).into_bytes(),
            6 => format!("GET {path} HTTP/1.1\r\nhost: {text}\r\nconnection: close\r\n\r\n").into_bytes(),
            _ => {
                // A head that never ends; some of them wait at once.
                let mut slow = web::connect(port)?;
                slow.write_all(format!("GET {path} HTTP/1.1\r\nhost: ").as_bytes()).ok();
                held.push(slow);
                if held.len() > 20 {
                    held.remove(0);
                }
                continue;
            }
        };
        if path == "/api/v1/events" && round % 8 == 3 {
            continue;
        }
        let answer = web::exchange(port, &request)?;
        anyhow::ensure!(answer.status < 500, "round {round}, {path}: {answer:?}");
        if (400..500).contains(&answer.status) {
            let problem = answer
                .json()
                .with_context(|| format!("round {round}, {path}"))?;
            anyhow::ensure!(
                problem["field"].is_string() && problem["limit"].is_string(),
                "{problem}"
            );
        }
    }
    drop(held);
    world.centre.process()?.assert_running()?;
    let log = std::fs::read_to_string(world.centre.log())?;
    anyhow::ensure!(!log.contains("panicked"), "{log}");
    world.stop_and_verify()?;
    world.judge()?;
    Ok(())
}

fn over_postgres(programs: &std::path::Path) -> anyhow::Result<()> {
    let peers = Peers {
        postgres: Some(programs.to_owned()),
        ..Peers::default()
    };
    let (mut world, port) = with_page(&peers, &[warm(1)], "")?;
    world.start()?;
    world.wait_for_rows("truck-001", 600)?;
    world.stop_and_verify()?;
    let list = wait::until("the vehicle has said goodbye", PATIENCE, || {
        let list = web::get(port, "/api/v1/vehicles")?;
        Ok((list["vehicles"][0]["link"] == "closed").then_some(list))
    })?;
    let newest_ms = list["vehicles"][0]["utc_ms"].as_i64().context("undated")?;
    let times = format!(
        "from_ms={}&to_ms={}",
        newest_ms - 3_600_000,
        newest_ms + 1_000
    );
    let series = web::get(
        port,
        &format!("/api/v1/vehicles/truck-001/series?sensor=load&{times}&step_ms=10000"),
    )?;
    let count: i64 = series["count"]
        .as_array()
        .context("no count")?
        .iter()
        .filter_map(Value::as_i64)
        .sum();
    let sql = "SELECT count(*) FROM readings_named WHERE device = ?1 AND name = 'load' AND lane = 'telemetry' AND utc_ms IS NOT NULL";
    anyhow::ensure!(
        count == world.store()?.number_of(sql, "truck-001")?,
        "{series}"
    );
    let sql = "SELECT CAST(max(value) * 128 AS BIGINT) FROM readings_named WHERE device = ?1 AND name = 'load' AND utc_ms IS NOT NULL";
    let highest = series["max"]
        .as_array()
        .context("no max")?
        .iter()
        .filter_map(Value::as_f64)
        .fold(f64::MIN, f64::max);
    anyhow::ensure!(
        (highest * 128.0) as i64 == world.store()?.number_of(sql, "truck-001")?,
        "{highest}"
    );
    let whole = web::get(port, "/api/v1/vehicles/truck-001/completeness")?;
    anyhow::ensure!(whole["is_complete"] == true, "{whole}");
    let track = web::get(port, &format!("/api/v1/vehicles/truck-001/track?{times}"))?;
    anyhow::ensure!(
        track["lat_deg"]
            .as_array()
            .is_some_and(|list| list.len() > 5),
        "{track}"
    );
    let export = web::request(port, "GET", "/api/v1/vehicles/truck-001/export", "", None)?;
    anyhow::ensure!(export.body.lines().count() as i64 == world.stored("truck-001")? + 1);
    anyhow::ensure!(!alerts(port, "device=truck-001")?.is_empty(), "no alert");
    Ok(())
}
