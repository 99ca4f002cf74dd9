//! The pickle inside PyTorch's zip archive, with storages of the lengths that the first bytes tell.
#![no_main]

use converters_fuzz::{check, torch_archive};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(archive) = torch_archive(data) {
        check("fuzz.pth", archive);
    }
});
