//! firmware-shared
