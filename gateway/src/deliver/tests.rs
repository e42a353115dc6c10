mod answering;
pub(crate) mod centre;
mod model;
mod sending;
pub(crate) mod world;
