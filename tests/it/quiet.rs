//! A run in which nothing is wrong says nothing is wrong.

use libtest_mimic::Trial;
use tests::fleet::CentreSetup;

use crate::needs::{self, Peers};
use crate::world::{World, setup};

pub(crate) fn trials() -> Vec<Trial> {
    needs::each_broker("quiet::a_quiet_run_logs_no_warning", quiet_run)
}

fn quiet_run(peers: &Peers) -> anyhow::Result<()> {
    let setups = [setup(1), setup(2)];
    let mut world = World::over(peers, &setups, "", CentreSetup::default())?;
    world.start()?;
    world.wait_for_rows("truck-001", 300)?;
    world.wait_for_rows("truck-002", 100)?;
    world.stop_and_verify()?;
    let account = world.judge()?;
    anyhow::ensure!(account.is_exactly_once(), "{account:?}");
    let logs = world
        .vehicles
        .iter()
        .map(|vehicle| vehicle.folder().join("gateway.log"));
    for log in logs.chain([world.centre.folder().join("central.log")]) {
        let text = std::fs::read_to_string(&log)?;
        let loud: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("WARN") || line.contains("ERROR"))
            .collect();
        anyhow::ensure!(loud.is_empty(), "{}: {loud:#?}", log.display());
    }
    Ok(())
}
