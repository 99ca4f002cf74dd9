//! What is known: every family, and what its upstream publishes.

use super::network::{Family, Preset};
use super::{gfocal_v2, gold_yolo, nanodet_plus};

/// All families.
pub const FAMILIES: &[&Family] = &[&nanodet_plus::FAMILY, &gold_yolo::FAMILY, &gfocal_v2::FAMILY];

/// The family of this name.
pub fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|family| family.name == name)
}

/// The preset of this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    FAMILIES.iter().flat_map(|family| family.presets).find(|preset| preset.name == name)
}
