//! A store as a safetensors file, exact to the bit.
//!
//! Every tensor is `SLAB/NAME` in the parameter's own order, so that a file fits every instruction set: `value/…` for all
//! parameters, and what rules keep, such as `velocity/…`, for those that are trained. The metadata counts the passes.

use std::borrow::Cow;
use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, View, serialize};

use super::Store;
use super::layout::Slot;
use super::slab::{gathered, put};
use crate::RuntimeError;
use crate::cpu::aligned::Aligned;
use network::graph::Array;

/// The slab of values.
const VALUE: &str = "value";
/// The entry of the metadata that counts passes forward.
const PASSES: &str = "passes";

struct Saved(Array);

impl View for Saved {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.0.data.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        4 * self.0.data.len()
    }
}

impl Store {
    /// All that training goes on from, as a safetensors file.
    ///
    /// # Errors
    /// None but a mistake of this program.
    pub fn save(&self) -> Result<Vec<u8>, RuntimeError> {
        let mut tensors = Vec::new();
        for slot in self.layout.slots() {
            let name = &slot.parameter.name;
            tensors.push((format!("{VALUE}/{name}"), Saved(gathered(self.values.floats(), slot)?)));
            for (slab, floats) in self.kept.iter().filter(|_| slot.is_trained) {
                tensors.push((format!("{slab}/{name}"), Saved(gathered(floats.floats(), slot)?)));
            }
        }
        let metadata = HashMap::from([(PASSES.to_owned(), self.passes.to_string())]);
        serialize(tensors, Some(metadata)).map_err(|error| RuntimeError::internal("", error.to_string()))
    }

    /// Goes on from what [`Store::save`] wrote for a network with these parameters.
    ///
    /// # Errors
    /// A file that is none, or that lacks a parameter or has it in another shape; the store is then as it was.
    pub fn restore(&mut self, file: &[u8]) -> Result<(), RuntimeError> {
        let wrong = |error: safetensors::SafeTensorError| RuntimeError::Saved { what: error.to_string() };
        let tensors = SafeTensors::deserialize(file).map_err(wrong)?;
        let (_, metadata) = SafeTensors::read_metadata(file).map_err(wrong)?;
        let passes = metadata.metadata().as_ref().and_then(|entries| entries.get(PASSES)?.parse().ok());
        let passes = passes.ok_or_else(|| RuntimeError::Saved { what: format!("{PASSES}: no count") })?;
        let mut values = Aligned::zeros(self.layout.size());
        for slot in self.layout.slots() {
            fill(values.floats_mut(), slot, &tensors, VALUE)?;
        }
        let names =
            tensors.names().into_iter().filter_map(|name: &str| Some(name.split_once('/')?.0.to_string()));
        let mut slabs: Vec<String> = names.filter(|slab| slab != VALUE).collect();
        slabs.sort_unstable();
        slabs.dedup();
        let kept = slabs.into_iter().map(|name| {
            let mut slab = Aligned::zeros(self.layout.trained());
            for slot in self.layout.slots().iter().filter(|slot| slot.is_trained) {
                fill(slab.floats_mut(), slot, &tensors, &name)?;
            }
            Ok((name, slab))
        });
        self.kept = kept.collect::<Result<_, RuntimeError>>()?;
        (self.values, self.passes) = (values, passes);
        Ok(())
    }
}

/// Fills a parameter's place in a slab.
fn fill(slab: &mut [f32], slot: &Slot, tensors: &SafeTensors<'_>, name: &str) -> Result<(), RuntimeError> {
    let name = format!("{name}/{}", slot.parameter.name);
    let wrong = |what: &str| RuntimeError::Saved { what: format!("{name}: {what}") };
    let tensor = tensors.tensor(&name).map_err(|_| wrong("the tensor is missing"))?;
    if tensor.dtype() != Dtype::F32 || tensor.shape() != slot.parameter.shape {
        return Err(wrong(&format!(
            "the tensor is {:?} {:?}, the parameter F32 {:?}",
            tensor.dtype(),
            tensor.shape(),
            slot.parameter.shape
        )));
    }
    let (numbers, _) = tensor.data().as_chunks::<4>();
    let numbers: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    put(slab, slot, &numbers, false)
}
