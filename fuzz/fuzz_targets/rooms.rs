#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hubmesh_fuzz::rooms(input));
