//! ONNX models.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| converters_fuzz::check("fuzz.onnx", data.to_vec()));
