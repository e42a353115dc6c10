//! What those who run the centre are given: figures, rules over them, a dashboard.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context;
use libtest_mimic::Trial;
use serde_json::Value;
use tests::fleet::{CentreSetup, PATIENCE};
use tests::link::free_port;
use tests::store::Place;
use tests::{wait, web};

use crate::needs::{self, Peers};
use crate::world::{self, World};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        needs::program(
            "ops::prometheus_takes_the_figures_and_the_rules_name_no_other",
            "promtool",
            rules,
        ),
        needs::nothing(
            "ops::the_run_book_gives_commands_that_the_programs_know",
            run_book,
        ),
        needs::postgres(
            "ops::every_query_of_the_dashboard_is_answered_by_postgresql",
            dashboard,
        ),
    ]
}

/// Where what is handed out lies.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../central/ops")
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    anyhow::ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    Ok(())
}

/// The page of figures at a port.
fn figures(port: u16) -> anyhow::Result<String> {
    let answer = web::request(port, "GET", "/metrics", "", None)?;
    anyhow::ensure!(answer.status == 200, "{answer:?}");
    Ok(answer.body)
}

fn rules(promtool: &Path) -> anyhow::Result<()> {
    run(Command::new(promtool)
        .args(["check", "rules"])
        .arg(folder().join("alerts.yml")))?;
    run(Command::new(promtool)
        .args(["test", "rules"])
        .arg(folder().join("alerts_test.yml")))?;
    let (page, port) = (free_port()?, free_port()?);
    let mut setup = world::setup(1);
    setup.more = format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
    let centre = CentreSetup {
        // A route, so that there is one that owes nothing.
        more: format!(
            "[http]\nlisten = \"127.0.0.1:{page}\"\n[[route]]\nname = \"bus\"\nkind = \"mqtt\"\n"
        ),
        ..CentreSetup::default()
    };
    let mut world = World::over(&Peers::default(), &[setup], "", centre)?;
    world.start()?;
    world.wait_for_rows("truck-001", 100)?;
    let gateway = wait::until("the gateway has heard of a commit", PATIENCE, || {
        let text = figures(port)?;
        let is_whole = ["ack_latency_seconds ", "clock_error_seconds "]
            .iter()
            .all(|name| text.contains(name));
        Ok(is_whole.then_some(text))
    })?;
    let centre = figures(page)?;
    for text in [&gateway, &centre] {
        lint(promtool, text)?;
    }
    for line in [
        "fleet_gateway_sensor_state{sensor=\"load\",state=\"online\"} 1",
        "fleet_gateway_link_up{connection=\"main\"} 1",
        "fleet_gateway_spool_on_disk 1",
    ] {
        anyhow::ensure!(
            gateway.lines().any(|shown| shown == line),
            "{line} is not in {gateway}"
        );
    }
    let shown: BTreeSet<String> = [&gateway, &centre]
        .into_iter()
        .flat_map(|text| names(text))
        .collect();
    let asked = names(&std::fs::read_to_string(folder().join("alerts.yml"))?);
    anyhow::ensure!(asked.len() > 10, "{asked:?}");
    let missing: Vec<_> = asked.difference(&shown).collect();
    anyhow::ensure!(missing.is_empty(), "nobody shows {missing:?}; {shown:?}");
    Ok(())
}

/// Every name of a figure in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("fleet_central_") || word.starts_with("fleet_gateway_"))
        .map(str::to_owned)
        .collect()
}

/// What Prometheus itself thinks of a page.
fn lint(promtool: &Path, page: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no stdin")?
        .write_all(page.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success() && said.is_empty(), "{said}\n{page}");
    Ok(())
}

fn dashboard(programs: &Path) -> anyhow::Result<()> {
    let peers = Peers {
        postgres: Some(programs.to_owned()),
        ..Peers::default()
    };
    let mut warm = world::setup(1);
    warm.sensors[0] = world::runaway("load", 0x48, 20);
    warm.more = "[health]\nperiod_s = 1\n".to_owned();
    let mut world = World::over(&peers, &[warm], "", CentreSetup::default())?;
    world.start()?;
    world.wait_for_rows("truck-001", 600)?;
    let store = world.store()?;
    wait::until_true(
        "an alert and figures of the gateway are stored",
        PATIENCE,
        || {
            let alerts = store.number(
                "SELECT count(*) FROM alerts WHERE state = 'raised' AND utc_ms IS NOT NULL",
            )?;
            let health = store.number(
                "SELECT count(*) FROM readings WHERE metric = 'spool_bytes' AND utc_ms IS NOT NULL",
            )?;
            Ok(alerts > 0 && health > 0)
        },
    )?;
    let Place::Postgres(url) = world.centre.place() else {
        anyhow::bail!("not over PostgreSQL");
    };
    let mut client = postgres::Client::connect(url, postgres::NoTls)?;
    // Received now; the vehicle's own time runs ahead of the centre's.
    let (from_s, to_s): (i64, i64) = {
        let row = client.query_one(
            "SELECT least((SELECT min(utc_ms) FROM readings), (SELECT min(received_ms) FROM frames)) / 1000 - 60, \
             greatest((SELECT max(utc_ms) FROM readings), (SELECT max(received_ms) FROM frames)) / 1000 + 600",
            &[],
        )?;
        (row.get(0), row.get(1))
    };
    let text = std::fs::read_to_string(folder().join("grafana-fleet.json"))?;
    let dashboard: Value = serde_json::from_str(&text)?;
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    anyhow::ensure!(queries.len() >= 12, "{} queries", queries.len());
    for query in queries {
        let sql = query
            .replace("$__unixEpochFrom()", &from_s.to_string())
            .replace("$__unixEpochTo()", &to_s.to_string())
            .replace("$__interval_ms", "10000")
            .replace("$device", "truck-001");
        anyhow::ensure!(!sql.contains('$'), "a macro is not known: {sql}");
        let rows = client.query(&sql, &[]).with_context(|| sql.clone())?;
        // A fleet that lost nothing has no losses to list.
        let may_be_empty = sql.contains("FROM losses ORDER BY");
        anyhow::ensure!(!rows.is_empty() || may_be_empty, "no rows: {sql}");
    }
    Ok(())
}

/// Everything that Grafana would send to the database.
fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                match inner {
                    Value::String(sql) if key == "rawSql" => found.push(sql.clone()),
                    Value::String(sql) if key == "query" && sql.starts_with("SELECT") => {
                        found.push(sql.clone());
                    }
                    inner => collect(inner, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|inner| collect(inner, found)),
        _ => {}
    }
}

/// A line that starts a program of ours is a command that this program knows, flags included.
fn run_book() -> anyhow::Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../RUNBOOK.md");
    let text = std::fs::read_to_string(file)?;
    let mut count = 0;
    for line in text.lines().filter(|line| line.starts_with("    ")) {
        let words: Vec<&str> = line
            .split_whitespace()
            .skip_while(|word| *word == "sudo")
            .collect();
        let Some((name, words)) = words.split_first() else {
            continue;
        };
        let program = match *name {
            "fleet-central" => world::central(),
            "fleet-gateway" => world::gateway(),
            _ => continue,
        };
        count += 1;
        // As deep as there are commands below commands: what does not know the next word says so.
        let mut path = Vec::new();
        let mut help = String::new();
        for depth in 0..words.len() {
            let mut args = words.get(..=depth).unwrap_or_default().to_vec();
            args.push("--help");
            let output = program.command(args.iter().copied()).output()?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            if !output.status.success() || words[depth].starts_with('-') || said == help {
                break;
            }
            path.push(words[depth]);
            help = said;
        }
        anyhow::ensure!(!path.is_empty(), "no command: {line}");
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            anyhow::ensure!(
                help.contains(flag),
                "{flag} is not in the help of {path:?}: {help}"
            );
        }
    }
    anyhow::ensure!(count > 12, "{count} commands");
    Ok(())
}
