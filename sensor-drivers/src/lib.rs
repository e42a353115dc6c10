//! sensor-drivers
