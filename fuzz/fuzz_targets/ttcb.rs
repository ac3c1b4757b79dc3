#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringfort_fuzz_targets::ttcb(data));
