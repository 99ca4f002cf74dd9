//! Arrays of numpy: .npy and .npz.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| converters_fuzz::check("fuzz.npy", data.to_vec()));
