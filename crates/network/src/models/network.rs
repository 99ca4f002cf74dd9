//! A network of any family, and what a family is.
//!
//! The two lie together because each names the other: a network says which family it belongs to, a family makes
//! networks.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

use super::detector::{DetectorFacts, Size};
use super::evidence::Shapes;
use crate::graph::{Graph, GraphError, Scope, Value};

/// Which parts of a network are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All of it, auxiliary branches included.
    Training,
    /// What detection needs.
    Inference,
}

/// A configuration: everything that the shapes of a network depend on, and what it means for a detector.
pub trait Network: Configuration + Debug + Send + Sync {
    /// The family it belongs to.
    fn family(&self) -> &'static Family;

    /// Its name where no preset is like it.
    fn description(&self) -> String;

    /// Number of classes.
    fn classes(&self) -> usize;

    /// The same network for another number of classes.
    fn with_classes(&self, classes: usize) -> Model;

    /// The same network without the branch that only training uses; `None` where there is no such branch.
    fn inference_only(&self) -> Option<Model> {
        None
    }

    /// Numbers that mapping tables may use in sizes.
    fn variables(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::from([("classes", self.classes())])
    }

    /// Height and width in pixels must be multiples of this.
    fn size_divisor(&self) -> usize {
        1
    }

    /// Writes the network for the input `x`, `[N, 3, H, W]`. What detection reads is the output `preds`, laid out
    /// as the [`Head`](super::Head) of [`Network::facts`] says.
    fn write(&self, form: Form, net: &mut Scope<'_>, x: Value);

    /// What belongs to the detector beside the network, for inputs of `size`.
    fn facts(&self, size: Size) -> DetectorFacts;
}

/// What every configuration has that can be compared.
pub trait Configuration: Any {
    /// Whether the other one is of the same kind and equal.
    fn equals(&self, other: &dyn Any) -> bool;
}

impl<T: PartialEq + Any> Configuration for T {
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }
}

/// A network of any family; what [`Network`] has is there as well.
#[derive(Debug, Clone)]
pub struct Model(Arc<dyn Network>);

impl Deref for Model {
    type Target = dyn Network;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl PartialEq for Model {
    fn eq(&self, other: &Model) -> bool {
        let other: &dyn Any = &*other.0;
        self.0.equals(other)
    }
}

impl<T: Network> From<T> for Model {
    fn from(network: T) -> Model {
        Model(Arc::new(network))
    }
}

impl Model {
    /// Writes the network's graph for an input `[N, 3, H, W]`.
    ///
    /// # Errors
    /// A configuration or input size whose shapes do not fit.
    pub fn graph(&self, form: Form, input: [usize; 4]) -> Result<Graph, GraphError> {
        let ([_, _, height, width], divisor) = (input, self.size_divisor());
        if !height.is_multiple_of(divisor) || !width.is_multiple_of(divisor) {
            return Err(GraphError::Size { network: self.name(), width, height, divisor });
        }
        Graph::write(input, |net, x| self.write(form, net, x))
    }

    /// Name of the preset it equals but for the number of classes and an auxiliary branch; a description otherwise.
    pub fn name(&self) -> String {
        self.preset().map_or_else(|| self.description(), |preset| preset.name.to_owned())
    }

    /// The preset it equals but for the number of classes and an auxiliary branch.
    fn preset(&self) -> Option<&'static Preset> {
        let bare = |model: &Model| model.without_auxiliary().with_classes(1);
        self.family().presets.iter().find(|preset| bare(&preset.model()) == bare(self))
    }

    /// Whether there is a branch that only training uses.
    pub fn has_auxiliary(&self) -> bool {
        self.inference_only().is_some()
    }

    /// The same network without the branch that only training uses.
    pub fn without_auxiliary(&self) -> Model {
        self.inference_only().unwrap_or_else(|| self.clone())
    }

    /// The network, and if it has a branch that only training uses, the one without.
    pub fn with_and_without_auxiliary(&self) -> Vec<Model> {
        [Some(self.clone()), self.inference_only()].into_iter().flatten().collect()
    }

    /// The size of input of its preset, or of the family's first.
    pub fn usual_size(&self) -> Size {
        let preset = self.preset().or_else(|| self.family().presets.first());
        preset.map_or(Size::square(640), |preset| preset.size)
    }
}

/// A network that upstream publishes.
#[derive(Debug)]
pub struct Preset {
    /// Its name, as the user writes it.
    pub name: &'static str,
    /// Makes the network, with upstream's number of classes.
    pub make: fn() -> Model,
    /// The size of input that upstream uses.
    pub size: Size,
}

impl Preset {
    /// The network, with upstream's number of classes.
    pub fn model(&self) -> Model {
        (self.make)()
    }
}

/// Networks that share code and mapping tables.
#[derive(Debug)]
pub struct Family {
    /// Its name, which is also the folder of its tables.
    pub name: &'static str,
    /// The paper, or where the authors describe it.
    pub paper: &'static str,
    /// The upstream revision that it was checked against.
    pub source: &'static str,
    /// What upstream publishes.
    pub presets: &'static [Preset],
    /// The network that canonical names and shapes belong to, where they are of this family.
    pub recognise: fn(&Shapes) -> Option<Model>,
}
