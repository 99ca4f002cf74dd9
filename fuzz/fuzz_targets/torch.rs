//! PyTorch's containers: zip, the stream of five pickles, tar.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| converters_fuzz::check("fuzz.pth", data.to_vec()));
