//! What the core decides, over a real SQLite file.

mod boots;
mod frames;
mod model;
mod words;
