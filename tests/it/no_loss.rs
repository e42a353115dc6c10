//! Whatever is killed or cut, nothing accepted is lost, doubled or unexplained.

use std::path::Path;

use libtest_mimic::Trial;
use tests::dice::Dice;
use tests::fleet::Centre;
use tests::link::free_port;
use tests::process::{Process, Program};
use tests::wait;

use crate::needs;
use crate::world::{World, central, setup};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        needs::nothing("no_loss::kill_in_any_order", kill_in_any_order),
        needs::nothing(
            "no_loss::kills_while_the_link_is_down",
            kills_while_the_link_is_down,
        ),
        needs::nothing(
            "no_loss::a_restored_database_gets_again_what_is_held",
            database_restored,
        ),
        needs::mosquitto(
            "no_loss::kill_of_an_external_broker",
            kill_of_an_external_broker,
        ),
    ]
}

/// Kills in the ordinary run; `FLEET_KILLS` asks for more.
const KILLS: usize = 14;

fn kill_in_any_order() -> anyhow::Result<()> {
    let kills = std::env::var("FLEET_KILLS").map_or(Ok(KILLS), |text| text.parse())?;
    let mut world = World::new(&[setup(1), setup(2), setup(3)])?;
    world.start()?;
    world.wait_for_rows("truck-001", 50)?;
    let mut dice = Dice::new(0x5eed);
    for kill in 0..kills {
        // About one in four hits the centre; each kill has a random stretch of readings before it.
        match dice.below(4) {
            3 => {
                world.wait_for_rows("truck-001", dice.below(200) as i64 + 1)?;
                world.centre.kill_9()?;
                world.centre.start()?;
            }
            number @ 0..3 => {
                world.kill_vehicle(number, dice.below(400) + 1)?;
                world.vehicles[number].start()?;
            }
            other => anyhow::bail!("kill {kill}: a die with {other}"),
        }
    }
    let report = world.stop_and_verify()?;
    let account = world.judge()?;
    eprintln!(
        "{kills} kills: {} handed out, {} not accepted; issued {}, lost {}",
        account.handed_out,
        account.missing_ms.len(),
        report["issued"],
        report["lost"]
    );
    Ok(())
}

fn kills_while_the_link_is_down() -> anyhow::Result<()> {
    let mut world = World::new(&[setup(1)])?;
    world.start()?;
    world.wait_for_rows("truck-001", 50)?;
    world.link.cut();
    for readings in [300, 20, 1, 150] {
        world.kill_vehicle(0, readings)?;
        world.vehicles[0].start()?;
    }
    let before = world.stored("truck-001")?;
    world.kill_vehicle(0, 100)?;
    // Nothing new at the centre, and the spool holds five epochs.
    anyhow::ensure!(world.stored("truck-001")? == before);
    world.link.restore();
    world.vehicles[0].start()?;
    world.wait_for_rows("truck-001", 400)?;
    world.stop_and_verify()?;
    world.judge()?;
    Ok(())
}

fn database_restored() -> anyhow::Result<()> {
    let mut world = World::new(&[setup(1)])?;
    world.start()?;
    world.wait_for_rows("truck-001", 100)?;
    let backup = world
        .folder
        .path()
        .join("backup.sqlite")
        .display()
        .to_string();
    let database = world.centre.database().display().to_string();
    let central = |args: &[&str]| -> anyhow::Result<bool> {
        Ok(world.centre.command(args).output()?.status.success())
    };
    let restore = ["restore", "--db", &database, "--from", &backup];
    anyhow::ensure!(
        central(&["backup", "--db", &database, "--to", &backup])?,
        "backup"
    );
    anyhow::ensure!(
        !central(&["backup", "--db", &database, "--to", &backup])?,
        "twice"
    );
    anyhow::ensure!(!central(&restore)?, "a restore under a running ingest");
    world.wait_for_rows("truck-001", 300)?;
    world.centre.kill_9()?;
    let (before, last_seq) = (world.stored("truck-001")?, world.last_seq("truck-001")?);
    let restored = world.centre.command(&restore).output()?;
    anyhow::ensure!(restored.status.success(), "{restored:?}");
    anyhow::ensure!(world.stored("truck-001")? < before, "nothing went back");
    world.centre.start()?;
    // What was acknowledged after the backup is asked for again, and it is still held.
    world.wait_for_return("truck-001", before, last_seq)?;
    world.stop_and_verify()?;
    let account = world.judge()?;
    anyhow::ensure!(
        account.is_exactly_once(),
        "{:?} are missing",
        account.missing_ms
    );
    Ok(())
}

fn kill_of_an_external_broker(mosquitto: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let port = free_port()?;
    let config = folder.path().join("mosquitto.conf");
    std::fs::write(
        &config,
        format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n"),
    )?;
    let log = folder.path().join("mosquitto.log");
    let start = || -> anyhow::Result<Process> {
        let args = ["-c".into(), config.clone().into_os_string()];
        let mut broker =
            Program::new(mosquitto).start::<std::ffi::OsString>("mosquitto", args, &log)?;
        wait::until_true("mosquitto listens", tests::fleet::PATIENCE, || {
            broker.assert_running()?;
            Ok(std::net::TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).is_ok())
        })?;
        Ok(broker)
    };
    let mut broker = start()?;
    let centre = Centre::external(central(), &folder.path().join("centre"), port)?;
    let mut world = World::with_centre(folder, centre, &[setup(1), setup(2)])?;
    world.start()?;
    for _ in 0..4 {
        world.wait_for_rows("truck-002", 100)?;
        broker.kill_9()?;
        broker = start()?;
    }
    world.wait_for_rows("truck-001", 100)?;
    world.stop_and_verify()?;
    let account = world.judge()?;
    anyhow::ensure!(
        account.is_exactly_once(),
        "without a kill of a gateway nothing may be missing: {account:?}"
    );
    Ok(())
}
