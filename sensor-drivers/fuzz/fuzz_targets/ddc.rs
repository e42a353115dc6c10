#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sensor_drivers_fuzz::ddc(data));
