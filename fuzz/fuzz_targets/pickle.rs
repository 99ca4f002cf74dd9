//! Plain pickles, and those with a Jittor trailer (whose checksum the fuzzer cannot guess: see `jittor`).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| converters_fuzz::check("fuzz.pkl", data.to_vec()));
