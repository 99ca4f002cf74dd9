//! Pickles with the checksum that Jittor appends.
#![no_main]

use converters_fuzz::{check, with_trailer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| check("fuzz.pkl", with_trailer(data)));
