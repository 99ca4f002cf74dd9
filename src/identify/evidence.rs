//! Shapes that a network may be recognised by.

use crate::mapping::{Table, Weights};
use network::models::Shapes;

/// No network has more channels, classes or bins; a file that says so would only make us build large things.
const MAX_SIZE: usize = 1 << 16;

/// Shapes by canonical name. Empty tensors and those of absurd sizes are evidence of nothing.
pub(super) fn shapes(table: &Table, weights: &Weights<'_>) -> Shapes {
    let forms = table.canonical_forms(weights);
    let is_sound = |shape: &[usize]| shape.iter().all(|size| (1..=MAX_SIZE).contains(size));
    let sound = forms.iter().filter(|(_, form)| is_sound(&form.shape));
    sound.map(|(name, form)| (name.as_str(), form.shape.clone())).collect()
}
