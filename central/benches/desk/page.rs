//! The page: how soon it is there, how soon a month is drawn, how many look at once.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use crate::browser::{Browser, Screen};
use crate::fleet::{self, DAYS, OBSERVED};
use crate::link::free_port;
use crate::process::{Process, Program};
use crate::{Report, wait, web};

const PATIENCE: Duration = Duration::from_secs(120);
const ROUNDS: usize = 5;
const CLIENTS: usize = 1_000;
/// Every vehicle sends twice in it.
const LIVE_LENGTH: Duration = Duration::from_secs(25);

struct Centre {
    process: Process,
    page: u16,
}

fn start(folder: &Path) -> anyhow::Result<Centre> {
    let (broker, page) = (free_port()?, free_port()?);
    let config = format!(
        "[database]\npath = \"fleet.sqlite\"\n[broker]\nlisten = \"127.0.0.1:{broker}\"\n[http]\n\
         listen = \"127.0.0.1:{page}\"\nrequests_per_s = 10000\nrequests_burst = 10000\n"
    );
    let file = folder.join("central.toml");
    std::fs::write(&file, config)?;
    let args = ["run".into(), "--config".into(), file.into_os_string()];
    let program = Program::new(env!("CARGO_BIN_EXE_fleet-central"));
    let mut process =
        program.start::<std::ffi::OsString>("centre", args, &folder.join("central.log"))?;
    wait::until_true("the centre is ready", PATIENCE, || {
        process.assert_running()?;
        Ok(web::request(page, "GET", "/readyz", "", None).is_ok_and(|answer| answer.status == 200))
    })?;
    Ok(Centre { process, page })
}

pub(crate) fn measure(report: &mut Report) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut empty = start(folder.path())?;
    empty.process.terminate(PATIENCE)?;
    let now = std::time::UNIX_EPOCH.elapsed()?;
    let now_ms = i64::try_from(now.as_millis())?;
    let readings = fleet::fill(&folder.path().join("fleet.sqlite"), now_ms)?;
    report.insert("fleet_readings".to_owned(), readings as f64);
    let begin = wait::now();
    let centre = start(folder.path())?;
    report.insert("page_ready_after_start_ms".to_owned(), ms(begin.elapsed()));
    series(report, centre.page, now_ms)?;
    match Browser::start(Screen::Desktop) {
        Ok(browser) => {
            first_paint(report, &browser, centre.page)?;
            live(
                report,
                &browser,
                &centre,
                &folder.path().join("fleet.sqlite"),
            )?;
        }
        Err(error) => println!("first paint and live page: not measured: {error:#}"),
    }
    clients(report, &centre)
}

/// The whole fleet sends while somebody looks: how late its word is in the stream, what that costs the centre, and
/// how long the page was too busy to answer a finger.
fn live(
    report: &mut Report,
    browser: &Browser,
    centre: &Centre,
    database: &Path,
) -> anyhow::Result<()> {
    browser.open(&format!("http://127.0.0.1:{}/", centre.page))?;
    let all = "return document.querySelector('.vehicles')?.dataset.complete === '2000'";
    browser.wait_for("2,000 rows", all)?;
    browser.run(
        "globalThis.blocked = 0; new PerformanceObserver((list) => { for (const task of list.getEntries()) \
         globalThis.blocked = Math.max(globalThis.blocked, task.duration); }).observe({ type: 'longtask' });",
    )?;
    let mut events = web::Events::open(centre.page, "/api/v1/events", "")?;
    let (begin, cpu_begin_s) = (wait::now(), cpu_s(centre.process.id())?);
    let fleet = fleet::Live::start(database)?;
    let (mut ages, mut heard) = (Vec::new(), std::collections::BTreeMap::new());
    while begin.elapsed() < LIVE_LENGTH {
        let event = events.next_event()?;
        if event.name != "fleet" {
            continue;
        }
        let now_ms = i64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_millis())?;
        let list: Value = serde_json::from_str(&event.data)?;
        for vehicle in list["vehicles"].as_array().context("no vehicles")? {
            let name = vehicle["device"].as_str().context("no name")?.to_owned();
            let received_ms = vehicle["received_ms"].as_i64().context("no data")?;
            if heard.insert(name, received_ms) != Some(received_ms) {
                ages.push((now_ms - received_ms) as f64);
            }
        }
    }
    let cpu_s = cpu_s(centre.process.id())? - cpu_begin_s;
    fleet.stop()?;
    anyhow::ensure!(heard.len() == 2_000, "{} were heard", heard.len());
    ages.sort_by(f64::total_cmp);
    let p99 = ages.get(ages.len() * 99 / 100).context("nothing came")?;
    report.insert("page_live_age_ms_p99_2000_vehicles".to_owned(), *p99);
    let percent = cpu_s * 100.0 / begin.elapsed().as_secs_f64();
    report.insert("page_live_centre_cpu_percent".to_owned(), percent);
    let blocked = browser.run("return globalThis.blocked")?;
    let blocked = blocked.as_f64().context("no number")?;
    report.insert("page_live_longest_task_ms".to_owned(), blocked);
    Ok(())
}

/// Seconds of processor that a process has used.
fn cpu_s(id: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("no name")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    // proc(5): utime and stime are the fields 14 and 15, in the ticks that Linux shows everybody.
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn series(report: &mut Report, page: u16, now_ms: i64) -> anyhow::Result<()> {
    let from_ms = now_ms - DAYS * 86_400_000;
    let path =
        format!("/api/v1/vehicles/{OBSERVED}/series?sensor=load&from_ms={from_ms}&to_ms={now_ms}");
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begin = wait::now();
        let series = web::get(page, &path)?;
        times.push(ms(begin.elapsed()));
        let count = series
            .get("count")
            .and_then(Value::as_array)
            .context("no count")?;
        let count: i64 = count.iter().filter_map(Value::as_i64).sum();
        anyhow::ensure!(count > 250_000, "the month has {count} readings");
    }
    report.insert("series_query_ms_month".to_owned(), median(times));
    Ok(())
}

/// The first picture that has vehicles in the list and on the map, not the empty frame before it.
fn first_paint(report: &mut Report, browser: &Browser, page: u16) -> anyhow::Result<()> {
    let (mut frames, mut fleets) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        browser.open("about:blank")?;
        browser.open(&format!("http://127.0.0.1:{page}/"))?;
        let fleet = browser.wait_for(
            "the fleet",
            "return performance.getEntriesByName('fleet')[0]?.startTime",
        )?;
        let frame = browser
            .run("return performance.getEntriesByName('first-contentful-paint')[0].startTime")?;
        frames.push(frame.as_f64().context("no frame")?);
        fleets.push(fleet.as_f64().context("no fleet")?);
        let all = "return document.querySelector('.vehicles').dataset.complete === '2000'";
        browser.wait_for("2,000 rows", all)?;
    }
    report.insert("page_first_frame_ms".to_owned(), median(frames));
    report.insert(
        "page_first_paint_ms_2000_vehicles".to_owned(),
        median(fleets),
    );
    Ok(())
}

fn clients(report: &mut Report, centre: &Centre) -> anyhow::Result<()> {
    let mut held = Vec::new();
    for _ in 0..CLIENTS {
        let mut events = web::Events::open(centre.page, "/api/v1/events", "")?;
        anyhow::ensure!(events.next_event()?.name == "hello");
        held.push(events);
    }
    // Everybody is still there when the next word comes.
    for events in &mut held {
        events.next_event()?;
    }
    report.insert("sse_clients_held".to_owned(), held.len() as f64);
    let rss = centre.process.vm_hwm_bytes()?;
    report.insert("sse_rss_mb".to_owned(), rss as f64 / 1e6);
    Ok(())
}
