mod answering;
mod black_box;
mod bottleneck;
pub(crate) mod centre;
mod model;
mod plan;
mod sending;
pub(crate) mod world;
