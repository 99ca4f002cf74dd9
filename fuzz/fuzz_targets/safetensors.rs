//! safetensors files and their JSON index.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| converters_fuzz::check("fuzz.safetensors", data.to_vec()));
