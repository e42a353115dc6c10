//! The fleet of the demo: what drives, what is measured, what goes wrong.

use std::collections::BTreeMap;
use std::path::Path;

use tests::fleet::{Sensor, Setup, Vehicle, receiver, thermometer};
use tests::process::Program;

/// Virtual seconds per second: the outage of some seconds is one of a quarter of an hour.
pub(crate) const SPEED_X: u32 = 60;
/// When the runaway begins, virtual seconds after the start: in the outage.
pub(crate) const RUNAWAY_AT_S: u32 = 16 * SPEED_X;
/// When the cooling works again.
const RUNAWAY_UNTIL_S: u32 = 36 * SPEED_X;
/// The upper limit of the load's temperature, degC.
pub(crate) const LIMIT_DEG_C: f64 = 8.0;
/// Addresses of the three thermometers and the receiver, in the order of their sensor indices.
const ADDRESSES: [u8; 4] = [0x48, 0x49, 0x4a, 0x42];

/// The sensor index of each address.
pub(crate) fn sensors() -> BTreeMap<u8, u8> {
    (0..).zip(ADDRESSES).collect()
}

/// Vehicle number `number`, counted from 0; the load of vehicle 0 runs away.
pub(crate) fn vehicle(
    program: &Program,
    folder: &Path,
    port: u16,
    number: u16,
) -> anyhow::Result<Vehicle> {
    let setup = Setup {
        device: format!("truck-{:03}", number + 1),
        speed_x: SPEED_X,
        seed: 1000 + u64::from(number),
        sensors: chips(number),
        broker: "status_period_s = 5\n".to_owned(),
        // Ten seconds of virtual time in one batch.
        spool: String::new(),
        more: "[seal]\ncount_max = 60\nage_ms_max = 10000\n".to_owned(),
    };
    Vehicle::new(program.clone(), &folder.join(&setup.device), port, &setup)
}

fn chips(number: u16) -> Vec<Sensor> {
    let runaway = format!(
        "[[chip.event]]\nkind = \"runaway\"\nat_s = {RUNAWAY_AT_S}\nuntil_s = {RUNAWAY_UNTIL_S}\n\
         rate_deg_c_per_min = 2.0\n"
    );
    let limit = format!("limit_high_deg_c = {LIMIT_DEG_C:.1}\nseverity = \"critical\"\n");
    let (lat, lon) = (
        52.0 + f64::from(number) * 0.05,
        13.0 + f64::from(number) * 0.05,
    );
    let [supply, back, load, _] = ADDRESSES;
    vec![
        thermometer("supply", supply, "", ""),
        thermometer("return", back, "", ""),
        thermometer(
            "load",
            load,
            if number == 0 { &runaway } else { "" },
            &limit,
        ),
        receiver(&format!(
            "[chip.route]\nstart_lat_deg = {lat:.2}\nstart_lon_deg = {lon:.2}\ncold_start_s = 20\n"
        )),
    ]
}
