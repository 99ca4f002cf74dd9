//! Bars that show how far a long command is, where a person sees them.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Files from this size have a progress bar.
const LARGE: u64 = 100_000_000;

/// For work on this many bytes; hidden where they are few.
pub(super) fn of_bytes(size: u64) -> ProgressBar {
    let template = "{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}";
    if size < LARGE { ProgressBar::hidden() } else { bar(size, template) }
}

/// For work on this many pictures; hidden for a single one.
pub(super) fn of_pictures(pictures: usize) -> ProgressBar {
    if pictures < 2 {
        ProgressBar::hidden()
    } else {
        bar(pictures as u64, "{wide_bar} {pos}/{len} {per_sec}")
    }
}

fn bar(length: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
