//! A fleet after a restart of its broker: 2,000 gateways with both connections each, in the defaults of the product.
//!
//! The links are the gateway's own; the broker is a Mosquitto that is killed and started again. A connection counts when
//! the broker has let it in.

use std::time::{Duration, Instant};

use anyhow::Context;
use firmware_shared::catalogue::{Catalogue, Details};
use firmware_shared::id::Epoch;
use firmware_shared::message::SoftwareVersion;
use firmware_shared::time::BootId;
use gateway::deliver::ProcessIdentity;
use gateway::forward::link::{Connection, LinkEvent};
use gateway::forward::mqtt::{MqttConfig, MqttLink};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tests::broker::{Broker, Kind};
use tests::wait;

use super::{Report, find};

const GATEWAYS: usize = 2_000;
/// Alert connections come back later; so long they are watched.
const WATCHED: Duration = Duration::from_secs(75);
const PATIENCE: Duration = Duration::from_secs(120);
const FILES: u64 = 16_384;

pub(super) fn reconnect(report: &mut Report) -> anyhow::Result<()> {
    allow_files()?;
    let folder = tempfile::tempdir()?;
    let mut broker = Broker::start(
        Kind::Mosquitto,
        &find("mosquitto")?,
        &folder.path().join("broker"),
        "",
    )?;
    let (sender, events) = crossbeam_channel::bounded(4 * GATEWAYS);
    let mut links = Vec::new();
    for number in 0..GATEWAYS {
        let config = config(number, broker.port())?;
        links.push(MqttLink::start(config, sender.clone())?);
        // A broker's queue of connections that wait is short.
        if number % 20 == 19 {
            wait::pass(Duration::from_millis(100), |_| Ok(()))?;
        }
    }
    let mut up = 0;
    let begin = wait::now();
    while up < 2 * GATEWAYS {
        anyhow::ensure!(begin.elapsed() < PATIENCE, "{up} connections are up");
        match events.recv_timeout(PATIENCE).context("nothing comes")? {
            LinkEvent::Connected(_) => up += 1,
            LinkEvent::Disconnected(_) => up -= 1,
            _ => {}
        }
    }
    broker.kill_9()?;
    broker.restart()?;
    let back = wait::now();
    let (mut main_ms, mut all_ms) = (Vec::new(), Vec::new());
    while back.elapsed() < WATCHED {
        let Ok(event) = events.recv_timeout(Duration::from_millis(100)) else {
            continue;
        };
        if let LinkEvent::Connected(session) = event {
            let at_ms = since_ms(back);
            all_ms.push(at_ms);
            if session.connection == Connection::Main {
                main_ms.push(at_ms);
            }
        }
    }
    drop(links);
    anyhow::ensure!(
        main_ms.len() >= GATEWAYS,
        "{} of {GATEWAYS} came back",
        main_ms.len()
    );
    let last_ms = main_ms.iter().take(GATEWAYS).max().copied().unwrap_or(0);
    report.insert(
        "reconnect_2000_last_back_s".to_owned(),
        last_ms as f64 / 1_000.0,
    );
    report.insert(
        "reconnect_2000_connects_per_s_max".to_owned(),
        in_a_second(&all_ms) as f64,
    );
    Ok(())
}

fn since_ms(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// The most connections in any second, wherever it begins.
fn in_a_second(times_ms: &[u64]) -> usize {
    let mut times_ms = times_ms.to_vec();
    times_ms.sort_unstable();
    let count = |(at, first): (usize, &u64)| {
        times_ms[at..].partition_point(|time_ms| *time_ms < first + 1_000)
    };
    times_ms.iter().enumerate().map(count).max().unwrap_or(0)
}

fn config(number: usize, port: u16) -> anyhow::Result<MqttConfig> {
    let identity = ProcessIdentity {
        device: format!("truck-{number:04}").parse()?,
        epoch: Epoch::from_random(number as u64 + 1),
        boot_id: BootId([7; 16]),
        software: SoftwareVersion::try_from("bench").ok().context("version")?,
        catalogue: Catalogue::default(),
        details: Details::default(),
        tail_at_most: [1; 3],
    };
    let seed = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    MqttConfig::new("127.0.0.1", port, "fleet/v1", &identity, seed).context("topics")
}

/// Two sockets per gateway here, two at the broker, which inherits the limit.
fn allow_files() -> anyhow::Result<()> {
    let had = getrlimit(Resource::Nofile);
    let most = had.maximum.unwrap_or(u64::MAX).min(FILES);
    anyhow::ensure!(most >= 8_000, "only {most} files may be open");
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(most),
            maximum: had.maximum,
        },
    )?;
    Ok(())
}
