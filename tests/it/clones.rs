//! A copied card and a card rolled back to an older image: no key is used twice, nothing is lost by it.

use std::collections::BTreeSet;
use std::path::Path;

use firmware_shared::batch::{self, SealParams};
use firmware_shared::id::{DeviceId, Epoch, Lane};
use firmware_shared::reading::{Reading, Score, Value};
use firmware_shared::topic::{self, Leaf};
use firmware_shared::units::Celsius128;
use libtest_mimic::Trial;
use tests::fleet::{PATIENCE, Vehicle};
use tests::oracle;
use tests::wait;

use crate::bad_input::Publisher;
use crate::needs;
use crate::world::{World, check_excuses, gateway, held_telemetry, sensors, setup, wait_for_truth};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        needs::nothing(
            "clones::a_copied_card_loses_nothing_and_reuses_no_key",
            copied_card,
        ),
        needs::nothing(
            "clones::a_card_rolled_back_loses_nothing_by_key_reuse",
            rolled_back_card,
        ),
        needs::nothing(
            "clones::the_same_key_with_other_bytes_is_quarantined_and_alarmed",
            clash,
        ),
    ]
}

pub(crate) fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn copied_card() -> anyhow::Result<()> {
    let mut world = World::new(&[setup(1)])?;
    world.start()?;
    world.wait_for_rows("truck-001", 50)?;
    // A backlog that the original and its copy both hold.
    world.link.cut();
    let spool = world.vehicles[0].folder().join("spool");
    let before = held_telemetry(&spool)?.len();
    wait::until_true("the outage is on flash", PATIENCE, || {
        Ok(held_telemetry(&spool)?.len() > before + 200)
    })?;
    world.kill_vehicle(0, 1)?;
    let mut copied = setup(1);
    copied.seed = 99;
    let mut copy = Vehicle::new(
        gateway(),
        &world.folder.path().join("copy"),
        world.link.port(),
        &copied,
    )?;
    copy_folder(
        &world.vehicles[0].folder().join("spool"),
        &copy.folder().join("spool"),
    )?;
    anyhow::ensure!(
        held_telemetry(&copy.folder().join("spool"))?.len() > 200,
        "the copy holds no backlog"
    );
    world.vehicles[0].start()?;
    copy.start()?;
    world.link.restore();
    wait_for_truth(&mut world.vehicles[0], 300)?;
    wait_for_truth(&mut copy, 300)?;
    world.wait_for_rows("truck-001", 400)?;
    world.centre.wait_for_drain(&copy)?;
    copy.stop()?;
    world.vehicles[0].stop()?;
    // Twins have one client id, and the broker lets only the last one in: what the first of them could not
    // say while it stopped, its next process says.
    copy.start()?;
    world.centre.wait_for_drain(&copy)?;
    copy.stop()?;
    world.vehicles[0].start()?;
    world.stop_and_verify()?;

    let rows = world.store()?.telemetry("truck-001")?;
    let mut truth = world.vehicles[0].truth()?;
    let other = copy.truth()?;
    truth.temperatures.extend(other.temperatures);
    truth.epochs.extend(other.epochs);
    let account = oracle::account(&truth, &rows, &sensors());
    check_excuses("truck-001", &account, &world.kills_ms[0], world.accept_ms)?;
    let stored: BTreeSet<(i64, u64)> = rows.iter().map(|row| (row.epoch, row.seq)).collect();
    anyhow::ensure!(
        stored.is_superset(&world.accepted["truck-001"]),
        "the backlog is not whole"
    );
    Ok(())
}

fn rolled_back_card() -> anyhow::Result<()> {
    let mut world = World::new(&[setup(1)])?;
    world.start()?;
    world.wait_for_rows("truck-001", 50)?;
    world.link.cut();
    world.kill_vehicle(0, 200)?;
    let image = world.folder.path().join("image");
    let spool = world.vehicles[0].folder().join("spool");
    copy_folder(&spool, &image)?;
    // Life goes on: everything is delivered, further epochs come and go.
    world.link.restore();
    world.vehicles[0].start()?;
    world.wait_for_rows("truck-001", 300)?;
    world.kill_vehicle(0, 50)?;
    world.vehicles[0].start()?;
    world.wait_for_rows("truck-001", 200)?;
    world.vehicles[0].stop()?;
    // Then the card is restored from the older image.
    std::fs::remove_dir_all(&spool)?;
    copy_folder(&image, &spool)?;
    world.vehicles[0].start()?;
    world.wait_for_rows("truck-001", 200)?;
    world.stop_and_verify()?;
    world.judge()?;
    let epochs = world
        .store()?
        .number("SELECT count(DISTINCT epoch) FROM readings WHERE lane = 'telemetry'")?;
    anyhow::ensure!(epochs == 4, "{epochs} epochs for four process starts");
    Ok(())
}

fn clash() -> anyhow::Result<()> {
    let world = World::new(&[])?;
    let device: DeviceId = "truck-001".parse()?;
    let params = SealParams {
        epoch: Epoch::from_random(7),
        lane: Lane::Telemetry,
        first_seq: 0,
        anchor: None,
    };
    let sealed = |raw: i32| -> anyhow::Result<Vec<u8>> {
        let value = Value::Temperature(Celsius128(raw));
        let reading = Reading {
            stamp_ms: 1000,
            sensor: 0,
            score: Score(0),
            value,
        };
        let mut out = vec![0; batch::BATCH_LEN_MAX];
        let len =
            batch::seal(&params, &[reading], &mut out).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        out.truncate(len);
        Ok(out)
    };
    let mut publisher = Publisher::connect(world.centre.port())?;
    let topic = topic::topic(topic::PREFIX_DEFAULT, &device, Leaf::Telemetry).unwrap();
    publisher.publish(&topic, &sealed(100)?)?;
    wait::until_true("the first is stored", PATIENCE, || {
        Ok(world.stored("truck-001")? == 1)
    })?;
    publisher.publish(&topic, &sealed(100)?)?;
    publisher.publish(&topic, &sealed(200)?)?;
    wait::until_true("the clash is alarmed", PATIENCE, || {
        Ok(world
            .store()?
            .number("SELECT count(*) FROM alarms WHERE kind = 'identity_clash'")?
            > 0)
    })?;
    let store = world.store()?;
    anyhow::ensure!(store.number("SELECT count(*) FROM quarantine WHERE reason = 'clash'")? == 1);
    anyhow::ensure!(
        store
            .telemetry("truck-001")?
            .iter()
            .map(|row| row.raw)
            .eq([Some(100)])
    );
    let bytes = format!("SELECT bytes = x'{}' FROM quarantine", hex(&sealed(200)?));
    anyhow::ensure!(
        store.number(&bytes)? == 1,
        "the quarantined bytes are not those that came"
    );
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
