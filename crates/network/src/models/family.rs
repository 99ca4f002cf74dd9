//! Families of networks and what upstream publishes of them.

use super::FAMILIES;
use super::detector::Size;
use super::evidence::Shapes;
use super::network::Model;

/// Which parts of a network are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All of it, auxiliary branches included.
    Training,
    /// What detection needs.
    Inference,
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

/// The family of this name.
pub fn family(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|family| family.name == name)
}

/// The preset of this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    FAMILIES.iter().flat_map(|family| family.presets).find(|preset| preset.name == name)
}
