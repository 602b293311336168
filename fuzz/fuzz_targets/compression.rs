#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rocker_fuzz::compression(data));
