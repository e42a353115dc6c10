//! The promises on an emulated ARM board.
//!
//! The unmodified ARM binary runs on Debian's kernel and reads the simulated chips of `sensor-drivers`
//! through a real `/dev/i2c-N`: QEMU shows them to the guest as a USB adapter.
//!
//! Promises: a scenario that cannot run says `skipped` and why; it is never shown as passed. Packages are
//! verified and unpacked into the target folder. Never: a package installed, a process ended that was not
//! started here, a scenario inside `cargo test`.

pub mod archive;
pub mod arm;
pub mod board;
pub mod centre;
pub mod clock;
pub mod cpio;
pub mod cuts;
pub mod debian;
pub mod display;
pub mod faults;
pub mod guest;
pub mod machine;
pub mod modules;
pub mod oracle;
pub mod outcome;
pub mod packaged;
pub mod pi;
pub mod qmp;
pub mod remote;
pub mod rig;
pub mod site;
pub mod smoke;
pub mod tier1;
pub mod usbredir;
pub mod walk;
pub mod world;
