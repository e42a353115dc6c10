//! Whatever dies, over every broker and database: nothing accepted is lost, doubled or unexplained.
//!
//! A seeded die chooses what is killed with `kill -9`, cut or restarted next; what the simulated chips wrote
//! down is the truth.

use libtest_mimic::Trial;
use tests::broker::Kind;
use tests::dice::Dice;
use tests::fleet::{Centre, CentreSetup, PATIENCE, Setup};
use tests::store::Store;
use tests::wait;

use crate::mishaps::{self, QUEUED_MAX};
use crate::needs::{self, Peers};
use crate::world::{World, central, setup};

/// Kills in the ordinary run, over all combinations together; `FLEET_CHAOS_KILLS` asks for more.
const KILLS: usize = 200;
/// Gateways of each world; `FLEET_CHAOS_VEHICLES` asks for others.
const VEHICLES: usize = 50;
/// Virtual seconds per second.
const SPEED_X: u32 = 5;
/// `FLEET_CHAOS_SEED` asks for another one.
const SEED: u64 = 0x5eed;

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |(at, (name, broker, postgres)): (usize, (&str, Option<Kind>, bool))| {
        needs::peers(
            &format!("chaos::kills_over_{name}"),
            broker,
            postgres,
            move |peers| kills(peers, at),
        )
    };
    let more = [
        needs::nothing(
            "chaos::five_hundred_short_outages_in_one_drain_lose_and_double_nothing",
            outages,
        ),
        needs::peers(
            "chaos::acks_of_the_broker_alone_lose_what_the_broker_forgets_and_acks_of_the_centre_do_not",
            Some(Kind::Mosquitto),
            false,
            forgetful,
        ),
        needs::peers(
            "chaos::a_second_centre_at_the_same_broker_changes_nothing",
            Some(Kind::Mosquitto),
            false,
            two_centres,
        ),
    ];
    let kills = needs::COMBINATIONS.into_iter().enumerate().map(trial);
    kills.chain(more).collect()
}

fn number<T: std::str::FromStr>(name: &str, otherwise: T) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    std::env::var(name).map_or(Ok(otherwise), |text| Ok(text.parse()?))
}

/// After so many kills something else befalls the fleet.
const MISHAP_EVERY: usize = 12;

/// What is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hit {
    Gateway,
    Centre,
    Broker,
    Database,
    Link,
    LostAcks,
}

fn hits(world: &World) -> Vec<Hit> {
    let mut hits = vec![
        Hit::Gateway,
        Hit::Gateway,
        Hit::Centre,
        Hit::Link,
        Hit::LostAcks,
    ];
    if world.broker.is_some() {
        hits.push(Hit::Broker);
    }
    if world.database.is_some() {
        hits.push(Hit::Database);
    }
    hits
}

/// A vehicle that leaves the processor to the others.
pub(crate) fn small(number: usize) -> Setup {
    let mut setup = setup(number);
    setup.sensors.truncate(2);
    setup.speed_x = SPEED_X;
    // The world is five times as fast, and so is the patience with a centre that may have lost a frame.
    setup
        .broker
        .push_str("resend_ms_min = 6000\nresend_ms_max = 20000\n");
    setup
}

fn kills(peers: &Peers, at: usize) -> anyhow::Result<()> {
    let all: usize = number("FLEET_CHAOS_KILLS", KILLS)?;
    let vehicles: usize = number("FLEET_CHAOS_VEHICLES", VEHICLES)?;
    let seed: u64 = number("FLEET_CHAOS_SEED", SEED)?;
    let combinations = needs::COMBINATIONS.len();
    // The first ones take what does not divide.
    let kills = all / combinations + usize::from(at < all % combinations);
    let mut dice = Dice::new(seed.wrapping_add(at as u64));
    let setups: Vec<Setup> = (1..=vehicles).map(small).collect();
    // Small enough to fill up while a centre is away.
    let more = match &peers.broker {
        Some((Kind::Mosquitto, _)) => format!("max_queued_messages {QUEUED_MAX}\n"),
        _ => String::new(),
    };
    let mut world = World::over(peers, &setups, &more, CentreSetup::default())?;
    world.start()?;
    let all_there = "SELECT count(DISTINCT device) FROM readings WHERE lane = 'telemetry'";
    wait::until_true("every vehicle is known", PATIENCE * 2, || {
        Ok(world.store()?.number(all_there)? == i64::try_from(vehicles)?)
    })?;
    let hits = hits(&world);
    // Each world begins with another one.
    let mut mishaps = mishaps::possible(&world).into_iter().cycle().skip(2 * at);
    let mut befallen = Vec::new();
    let (mut done, mut cuts) = (0, 0);
    while done < kills {
        let hit = hits[dice.below(hits.len())];
        strike(&mut world, hit, &mut dice)?;
        match hit {
            Hit::Link | Hit::LostAcks => cuts += 1,
            _ => done += 1,
        }
        if done % MISHAP_EVERY == 0
            && befallen.len() < done / MISHAP_EVERY
            && let Some(mishap) = mishaps.next()
        {
            world.wait_for_any_rows(1)?;
            mishaps::befall(&mut world, mishap, &mut dice)?;
            befallen.push(mishap);
        }
    }
    let report = world.stop_and_verify()?;
    let account = world.judge()?;
    eprintln!(
        "{done} kills, {cuts} cuts and {befallen:?} over {peers:?}: {} handed out, {} not accepted; issued {}, lost {}",
        account.handed_out,
        account.missing_ms.len(),
        report["issued"],
        report["lost"]
    );
    Ok(())
}

/// Hits something in mid-stream: rows have come in since the last hit.
fn strike(world: &mut World, hit: Hit, dice: &mut Dice) -> anyhow::Result<()> {
    let rows = i64::try_from(dice.below(200) + 1)?;
    world.wait_for_any_rows(rows)?;
    match hit {
        Hit::Gateway => {
            let number = dice.below(world.vehicles.len());
            world.kill_vehicle(number, 1)?;
            world.vehicles[number].start()?;
        }
        Hit::Centre => {
            world.centre.kill_9()?;
            world.centre.start()?;
        }
        Hit::Broker => {
            if let Some(broker) = &mut world.broker {
                broker.kill_9()?;
                broker.restart()?;
            }
        }
        Hit::Database => {
            if let Some(database) = &mut world.database {
                database.kill_9()?;
                database.restart()?;
            }
        }
        Hit::Link => {
            world.link.cut();
            world.wait_for_some_truth(dice.below(100) + 1)?;
            world.link.restore();
        }
        Hit::LostAcks => {
            let before = world.link.bytes_up();
            world.link.mute(true);
            wait::until_true("frames go up unanswered", PATIENCE, || {
                Ok(world.link.bytes_up() > before + 1000)
            })?;
            world.link.cut();
            world.link.mute(false);
            world.link.restore();
        }
    }
    Ok(())
}

/// Outages during one drain.
const OUTAGES: u64 = 500;
/// Readings in the backlog, by the hundred: more than so many short connections carry.
const OUTAGES_BACKLOG: usize = 240;

fn outages() -> anyhow::Result<()> {
    let mut setup = setup(1);
    setup.speed_x = 200;
    setup.broker = "backoff_ms_min = 10\nbackoff_ms_max = 20\nstatus_period_s = 2\n".to_owned();
    let mut world = World::new(&[setup])?;
    world.start()?;
    world.wait_for_rows("truck-001", 20)?;
    world.link.cut();
    for _ in 0..OUTAGES_BACKLOG {
        world.wait_for_some_truth(100)?;
    }
    let backlog = i64::try_from(world.vehicles[0].truth()?.readings())?;
    world.link.throttle(8_000);
    let mut dice = Dice::new(SEED);
    let begin = world.link.connections();
    while world.link.connections() < begin + OUTAGES {
        let before = (world.link.connections(), world.link.bytes_up());
        world.link.restore();
        // Less than an acknowledgement takes to come: what was sent is to be sent again.
        let bytes = dice.below(400) as u64;
        wait::until_true("the vehicle is back and sends", PATIENCE, || {
            let link = &world.link;
            Ok(link.connections() > before.0 && link.bytes_up() > before.1 + bytes)
        })?;
        world.link.cut();
    }
    // The last outage, too, hit the drain of what was there before the first.
    let stored = world.stored("truck-001")?;
    anyhow::ensure!(
        stored < backlog,
        "{stored} of {backlog} are there: the drain was over before the last outage"
    );
    world.link.throttle(0);
    world.link.restore();
    world.stop_and_verify()?;
    let account = world.judge()?;
    anyhow::ensure!(
        account.is_exactly_once(),
        "missing: {:?}",
        account.missing_ms
    );
    Ok(())
}

/// The broker forgets what it acknowledged while the centre is away.
fn forgetful(peers: &Peers) -> anyhow::Result<()> {
    for (level, loses) in [("puback", true), ("central", false)] {
        let mut setup = setup(1);
        setup.broker = format!("ack = \"{level}\"\nstatus_period_s = 2\n");
        // What is kept for a restored centre would hide the loss here.
        setup.spool = "rewind_history_hours = 0\n".to_owned();
        let mut world = World::over(
            peers,
            &[setup],
            "persistence false\n",
            CentreSetup::default(),
        )?;
        world.start()?;
        world.wait_for_rows("truck-001", 50)?;
        world.centre.kill_9()?;
        let before = world.link.bytes_up();
        world.wait_for_some_truth(300)?;
        wait::until_true("the broker takes frames", PATIENCE, || {
            Ok(world.link.bytes_up() > before + 500)
        })?;
        let broker = world.broker.as_mut().unwrap();
        broker.kill_9()?;
        broker.restart()?;
        world.centre.start()?;
        world.wait_for_rows("truck-001", 50)?;
        if loses {
            world.vehicles[0].stop()?;
            world.centre.wait_for_goodbye("truck-001")?;
            let rows = world.store()?.telemetry("truck-001")?;
            let truth = world.vehicles[0].truth()?;
            let account = tests::oracle::account(&truth, &rows, &crate::world::sensors());
            anyhow::ensure!(
                !account.missing_ms.is_empty(),
                "with {level} nothing was lost"
            );
            let (report, clean) = world.centre.verify()?;
            // The centre asks for what it misses; a device that has given it away says so.
            let told = report["lost"].as_u64().is_some_and(|lost| lost > 0);
            anyhow::ensure!(told || !clean, "verify does not see the loss: {report}");
        } else {
            world.stop_and_verify()?;
            let account = world.judge()?;
            anyhow::ensure!(
                account.is_exactly_once(),
                "missing: {:?}",
                account.missing_ms
            );
        }
    }
    Ok(())
}

/// A staging centre that subscribes to the same broker hears everything; the vehicles believe the first alone.
fn two_centres(peers: &Peers) -> anyhow::Result<()> {
    let mut world = World::over(peers, &[setup(1), setup(2)], "", CentreSetup::default())?;
    world.start()?;
    world.wait_for_rows("truck-001", 50)?;
    let port = world.centre.port();
    let mut staging = Centre::external(central(), &world.folder.path().join("staging"), port)?;
    staging.start()?;
    // The true centre is away; the other one acknowledges what it alone has.
    world.centre.kill_9()?;
    let heard = || -> anyhow::Result<i64> {
        Store::at(staging.place())?.number("SELECT count(*) FROM readings")
    };
    wait::until_true("the staging centre hears", PATIENCE, || Ok(heard()? > 200))?;
    // What the broker kept for the true one is gone as well.
    let broker = world.broker.as_mut().unwrap();
    broker.kill_9()?;
    broker.restart()?;
    world.centre.start()?;
    world.wait_for_rows("truck-002", 50)?;
    world.stop_and_verify()?;
    let account = world.judge()?;
    anyhow::ensure!(
        account.is_exactly_once(),
        "missing: {:?}",
        account.missing_ms
    );
    Ok(())
}
