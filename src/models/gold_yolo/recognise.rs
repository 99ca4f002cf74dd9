//! The configuration that the shapes of a checkpoint tell.

use super::GoldYolo;
use crate::models::Shapes;

impl GoldYolo {
    pub(super) fn recognise(_: &Shapes) -> Option<GoldYolo> {
        None
    }
}
