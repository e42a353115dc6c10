//! What the core decides, over a real SQLite file.

mod frames;
mod model;
mod words;
