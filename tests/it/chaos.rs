//! Whatever dies, over every broker and database: nothing accepted is lost, doubled or unexplained.
//!
//! A seeded die chooses what is killed with `kill -9`, cut or restarted next; what the simulated chips wrote
//! down is the truth.

use libtest_mimic::Trial;
use tests::broker::Kind;
use tests::dice::Dice;
use tests::fleet::{CentreSetup, Setup};
use tests::wait;

use crate::needs::{self, Peers};
use crate::world::{World, setup};

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
    needs::COMBINATIONS
        .into_iter()
        .enumerate()
        .map(trial)
        .collect()
}

fn number<T: std::str::FromStr>(name: &str, otherwise: T) -> anyhow::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    std::env::var(name).map_or(Ok(otherwise), |text| Ok(text.parse()?))
}

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
fn small(number: usize) -> Setup {
    let mut setup = setup(number);
    setup.sensors.truncate(2);
    setup.speed_x = SPEED_X;
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
    let mut world = World::over(peers, &setups, "", CentreSetup::default())?;
    world.start()?;
    for vehicle in [1, vehicles] {
        world.wait_for_rows(&format!("truck-{vehicle:03}"), 5)?;
    }
    let hits = hits(&world);
    let (mut done, mut cuts) = (0, 0);
    while done < kills {
        let hit = hits[dice.below(hits.len())];
        strike(&mut world, hit, &mut dice)?;
        match hit {
            Hit::Link | Hit::LostAcks => cuts += 1,
            _ => done += 1,
        }
    }
    // A clean stop has a few seconds; whoever is still connecting would need them for that.
    for vehicle in &world.vehicles {
        world.wait_for_rows(vehicle.device(), 1)?;
    }
    let report = world.stop_and_verify()?;
    let account = world.judge()?;
    eprintln!(
        "{done} kills and {cuts} cuts over {peers:?}: {} handed out, {} not accepted; issued {}, lost {}",
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
            wait::until_true("frames go up unanswered", tests::fleet::PATIENCE, || {
                Ok(world.link.bytes_up() > before + 1000)
            })?;
            world.link.cut();
            world.link.mute(false);
            world.link.restore();
        }
    }
    Ok(())
}
