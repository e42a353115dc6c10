mod faults;
mod hostile;
mod layout;
mod opening;
mod ring;
mod versions;
pub(crate) mod world;
