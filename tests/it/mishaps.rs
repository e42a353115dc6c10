//! What befalls a fleet beside kills: copied and rolled-back cards, a restored database, another centre, full queues.
//!
//! Each hits a running world in mid-stream and leaves it running; what came of it is judged at the world's end.

use std::path::Path;

use anyhow::Context;
use tests::broker::Kind;
use tests::dice::Dice;
use tests::fleet::{Centre, PATIENCE, Vehicle};
use tests::store::{Place, Store};
use tests::wait;

use crate::chaos::small;
use crate::clones::copy_folder;
use crate::world::{GOODBYE_PATIENCE, World, central, gateway};

/// Messages that a Mosquitto of these tests keeps for a centre that is away.
pub(crate) const QUEUED_MAX: usize = 100;
/// Clean stops until a copied card has said everything.
const STOPS_MAX: usize = 4;

/// A mishap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    CopiedCard,
    RolledBackCard,
    RestoredDatabase,
    SecondCentre,
    FullQueue,
}

/// What can befall this world.
pub(crate) fn possible(world: &World) -> Vec<Mishap> {
    let mut all = vec![
        Mishap::CopiedCard,
        Mishap::RestoredDatabase,
        Mishap::RolledBackCard,
    ];
    if let Some(broker) = &world.broker {
        all.push(Mishap::SecondCentre);
        if broker.kind() == Kind::Mosquitto {
            all.push(Mishap::FullQueue);
        }
    }
    all
}

pub(crate) fn befall(world: &mut World, mishap: Mishap, dice: &mut Dice) -> anyhow::Result<()> {
    let number = dice.below(world.vehicles.len());
    let outcome = match mishap {
        Mishap::CopiedCard => copied_card(world, number),
        Mishap::RolledBackCard => rolled_back_card(world, number),
        Mishap::RestoredDatabase => restored_database(world),
        Mishap::SecondCentre => second_centre(world),
        Mishap::FullQueue => full_queue(world),
    };
    outcome.with_context(|| format!("{mishap:?}, vehicle {number} counted from 0"))
}

/// A copy of the card goes on in another vehicle of the same name, beside the original.
fn copied_card(world: &mut World, number: usize) -> anyhow::Result<()> {
    world.kill_vehicle(number, 1)?;
    let place = world
        .folder
        .path()
        .join(format!("copy-{}", world.copies.len()));
    let mut setup = small(number + 1);
    setup.seed += 1_000 + world.copies.len() as u64;
    let mut copy = Vehicle::new(gateway(), &place, world.link.port(), &setup)?;
    let original = world.vehicles[number].folder().to_owned();
    copy_folder(&original.join("spool"), &copy.folder().join("spool"))?;
    world.vehicles[number].start()?;
    copy.start()?;
    crate::world::wait_for_truth(&mut copy, 20)?;
    let device = copy.device().to_owned();
    world.wait_for_rows(&device, 20)?;
    for attempt in 1.. {
        world.centre.wait_for_drain(&copy)?;
        let status = copy.status()?.context("the copy gives no status")?;
        let epoch = i64::from_str_radix(status["epoch"].as_str().context("no epoch")?, 16)?;
        copy.stop()?;
        let sql = format!("SELECT count(*) FROM epochs WHERE epoch = {epoch} AND clean");
        let said = wait::until_true("the copy's goodbye", GOODBYE_PATIENCE, || {
            Ok(world.store()?.number(&sql)? == 1)
        });
        if said.is_ok() {
            break;
        }
        anyhow::ensure!(attempt < STOPS_MAX, "no goodbye in {attempt} clean stops");
        copy.start()?;
    }
    world.copies.push(copy);
    Ok(())
}

/// The card goes back to an image of itself, after everything on the newer one was delivered.
fn rolled_back_card(world: &mut World, number: usize) -> anyhow::Result<()> {
    world.kill_vehicle(number, 1)?;
    let spool = world.vehicles[number].folder().join("spool");
    let image = world.vehicles[number].folder().join("image");
    std::fs::remove_dir_all(&image).ok();
    copy_folder(&spool, &image)?;
    world.vehicles[number].start()?;
    let device = world.vehicles[number].device().to_owned();
    world.wait_for_rows(&device, 20)?;
    world.part_with(&[number])?;
    std::fs::remove_dir_all(&spool)?;
    copy_folder(&image, &spool)?;
    world.vehicles[number].start()?;
    world.wait_for_rows(&device, 20)
}

/// The database goes back to a backup that was made in mid-stream. What it had since comes again.
fn restored_database(world: &mut World) -> anyhow::Result<()> {
    let backup = world.folder.path().join("backup");
    std::fs::remove_file(&backup).ok();
    back_up(world, &backup)?;
    world.wait_for_any_rows(100)?;
    world.centre.kill_9()?;
    let before = coverage(world)?;
    restore(world, &backup)?;
    let after = coverage(world)?;
    let gone: Vec<&[i64; 3]> = before.iter().filter(|row| !after.contains(row)).collect();
    anyhow::ensure!(!gone.is_empty(), "nothing went back");
    world.centre.start()?;
    for [epoch, last_seq, count] in gone {
        let stored = format!(
            "SELECT count(*) FROM readings WHERE epoch = {epoch} AND lane = 'telemetry' AND seq <= {last_seq}"
        );
        // What was on its way when its gateway was killed, accepted by nobody, is held by nobody: it comes as a loss.
        let lost = format!(
            "SELECT CAST(coalesce(sum(CASE WHEN last_seq < {last_seq} THEN last_seq ELSE {last_seq} END - first_seq + 1), 0) \
             AS BIGINT) FROM losses WHERE epoch = {epoch} AND lane = 'telemetry' AND first_seq <= {last_seq}"
        );
        let there = || -> anyhow::Result<(i64, i64)> {
            let store = world.store()?;
            Ok((store.number(&stored)?, store.number(&lost)?))
        };
        let whole = wait::until_true("what went back comes again", PATIENCE, || {
            let (stored, lost) = there()?;
            Ok(stored + lost >= *count)
        });
        whole.with_context(|| {
            format!(
                "epoch {epoch}, of {count} up to {last_seq}, stored and lost: {:?}",
                there()
            )
        })?;
    }
    Ok(())
}

/// Per epoch: its last number and how many there are.
fn coverage(world: &World) -> anyhow::Result<Vec<[i64; 3]>> {
    world.store()?.numbers(
        "SELECT epoch, max(seq), count(*) FROM readings WHERE lane = 'telemetry' GROUP BY epoch",
    )
}

fn back_up(world: &World, backup: &Path) -> anyhow::Result<()> {
    match world.centre.place() {
        Place::Sqlite(database) => central_command(world, "backup", database, "--to", backup),
        Place::Postgres(url) => {
            let args = ["--format=custom", "--dbname", url, "--file"];
            postgres_tool(world, "pg_dump", &args, backup)
        }
    }
}

fn restore(world: &World, backup: &Path) -> anyhow::Result<()> {
    match world.centre.place() {
        Place::Sqlite(database) => central_command(world, "restore", database, "--from", backup),
        Place::Postgres(url) => {
            let sql = "DROP SCHEMA public CASCADE; CREATE SCHEMA public";
            world.store()?.tamper(sql)?;
            let args = ["--single-transaction", "--dbname", url];
            postgres_tool(world, "pg_restore", &args, backup)
        }
    }
}

fn central_command(
    world: &World,
    command: &str,
    database: &Path,
    option: &str,
    backup: &Path,
) -> anyhow::Result<()> {
    let mut command = world.centre.command(&[command, "--db"]);
    let output = command.arg(database).arg(option).arg(backup).output()?;
    anyhow::ensure!(output.status.success(), "{command:?}: {output:?}");
    Ok(())
}

fn postgres_tool(world: &World, name: &str, args: &[&str], file: &Path) -> anyhow::Result<()> {
    let database = world.database.as_ref().context("no database server")?;
    let output = database.tool(name).args(args).arg(file).output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{name}: {text}");
    Ok(())
}

/// A staging centre listens in and acknowledges what it has; it dies as it lived.
fn second_centre(world: &World) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut staging = Centre::external(central(), folder.path(), world.centre.port())?;
    staging.start()?;
    wait::until_true("the staging centre hears", PATIENCE, || {
        let rows = Store::at(staging.place())?.number("SELECT count(*) FROM readings")?;
        Ok(rows > 100)
    })?;
    staging.kill_9()
}

/// While the centre is away, its queue at the broker fills up, and the broker throws away what it has acknowledged.
fn full_queue(world: &mut World) -> anyhow::Result<()> {
    // A broker that came back without its memory keeps nothing before the centre has subscribed again.
    world.centre.kill_9()?;
    world.centre.start()?;
    world.centre.kill_9()?;
    // It says so once for as long as it lives.
    let log = world.broker.as_ref().context("no broker")?.log();
    wait::until_true(
        "the broker throws away what it acknowledged",
        PATIENCE,
        || {
            let text = std::fs::read_to_string(&log)?;
            Ok(text.contains("messages are being dropped"))
        },
    )?;
    world.centre.start()
}
