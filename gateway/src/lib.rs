//! The gateway on the vehicle.

pub mod deliver;
pub mod forward;
pub mod spool;

/// Entry point of `fleet-gateway`.
pub fn main(_args: impl IntoIterator<Item = std::ffi::OsString>) -> std::process::ExitCode {
    std::process::ExitCode::from(2)
}
