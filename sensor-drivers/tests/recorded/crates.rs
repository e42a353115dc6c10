//! The crates `ublox` and `nmea` as oracles: every frame of every log that both sides read says
//! the same. Both work in floating point, so equal means equal in our integer units.

use std::path::Path;

use super::oracle::{self, OracleFrame};
use super::promises::{Outcome, ensure, logs};

#[path = "../peers/compare.rs"]
mod compare;
use compare::{Compared, sentence, ubx};

pub(crate) fn agree(data: &Path) -> Outcome {
    let mut compared = Compared::default();
    for path in logs(data)? {
        for frame in oracle::frames(&oracle::receiver_output(&path)) {
            let differs = match &frame {
                OracleFrame::Ubx(bytes) => ubx(bytes, &mut compared),
                OracleFrame::Nmea(body) => sentence(body, &mut compared),
            };
            ensure!(
                differs.is_none(),
                "{}: {differs:?} in {frame:?}",
                path.display()
            );
        }
    }
    ensure!(
        compared.nav_pvt >= 390 && compared.rmc >= 1500 && compared.gga >= 1500,
        "{compared:?}"
    );
    ensure!(compared.positions >= 2500, "{compared:?}");
    ensure!(compared.refused <= 1, "{compared:?}");
    Ok(())
}
