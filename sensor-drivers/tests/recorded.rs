//! Recorded receiver logs, played through the simulated receiver and the real driver.
fn main() {}
