//! Evaluation: COCO's annotations and results.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| converters_fuzz::evaluation::check(data));
