//! Families of networks, and a network of any of them.

use std::collections::BTreeMap;

use super::evidence::Shapes;
use super::nanodet_plus::NanoDetPlus;
use super::shufflenet::ShuffleNet;
use crate::graph::{Graph, GraphError};

/// Which parts of a network are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// All of it, auxiliary branches included.
    Training,
    /// What detection needs.
    Inference,
}

/// A network of any family, with everything that its shapes depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Model {
    /// NanoDet-Plus.
    NanoDetPlus(NanoDetPlus),
}

/// A network that upstream publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// Its name, as the user writes it.
    pub name: &'static str,
    /// The network, with upstream's number of classes.
    pub model: Model,
    /// Height and width that upstream uses, in pixels.
    pub size: [usize; 2],
}

/// Networks that share code and mapping tables.
#[derive(Debug)]
pub struct Family {
    /// Its name, which is also the folder of its tables.
    pub name: &'static str,
    /// The upstream revision that it was checked against.
    pub source: &'static str,
    /// What upstream publishes.
    pub presets: &'static [Preset],
    /// The network that canonical names and shapes belong to, where they are of this family.
    pub recognise: fn(&Shapes) -> Option<Model>,
}

/// All families.
pub const FAMILIES: &[Family] = &[Family {
    name: "nanodet-plus",
    source: "github.com/RangiLyu/nanodet, commit be9b4a9",
    presets: &[
        Preset { name: "nanodet-plus-m", model: Model::NanoDetPlus(NanoDetPlus::M), size: [416; 2] },
        Preset { name: "nanodet-plus-m-1.5x", model: Model::NanoDetPlus(NanoDetPlus::M_15), size: [416; 2] },
    ],
    recognise: |shapes| NanoDetPlus::recognise(shapes).map(Model::NanoDetPlus),
}];

/// The preset of this name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    FAMILIES.iter().flat_map(|family| family.presets).find(|preset| preset.name == name)
}

impl Model {
    /// Name of its family.
    pub fn family(&self) -> &'static str {
        match self {
            Model::NanoDetPlus(_) => "nanodet-plus",
        }
    }

    /// Name of the preset it equals but for the number of classes and an auxiliary branch; a description
    /// otherwise.
    pub fn name(&self) -> String {
        let Model::NanoDetPlus(config) = self;
        let like = |other: &NanoDetPlus| {
            let NanoDetPlus { classes, auxiliary, .. } = config;
            *config == NanoDetPlus { classes: *classes, auxiliary: *auxiliary, ..other.clone() }
        };
        let presets = FAMILIES.iter().flat_map(|family| family.presets);
        let preset =
            presets.into_iter().find(|preset| matches!(&preset.model, Model::NanoDetPlus(m) if like(m)));
        preset.map_or_else(|| description(config), |preset| preset.name.to_owned())
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        match self {
            Model::NanoDetPlus(config) => config.classes,
        }
    }

    /// The same network for another number of classes.
    pub fn with_classes(&self, classes: usize) -> Model {
        match self {
            Model::NanoDetPlus(config) => Model::NanoDetPlus(NanoDetPlus { classes, ..config.clone() }),
        }
    }

    /// Whether there is a branch that only training uses.
    pub fn has_auxiliary(&self) -> bool {
        match self {
            Model::NanoDetPlus(config) => config.auxiliary.is_some(),
        }
    }

    /// The same network without the branch that only training uses.
    pub fn without_auxiliary(&self) -> Model {
        match self {
            Model::NanoDetPlus(config) => {
                Model::NanoDetPlus(NanoDetPlus { auxiliary: None, ..config.clone() })
            }
        }
    }

    /// Numbers that mapping tables may use in sizes.
    pub fn variables(&self) -> BTreeMap<&'static str, usize> {
        match self {
            Model::NanoDetPlus(config) => {
                BTreeMap::from([("classes", config.classes), ("reg_max", config.reg_max)])
            }
        }
    }

    /// Height and width in pixels must be multiples of this.
    pub fn size_divisor(&self) -> usize {
        match self {
            // Bilinear upsampling doubles the deepest backbone level, stride 32, to meet the one before.
            Model::NanoDetPlus(_) => 32,
        }
    }

    /// Writes the network for an input `[N, 3, H, W]`.
    ///
    /// # Errors
    /// A configuration or input size whose shapes do not fit.
    pub fn graph(&self, form: Form, input: [usize; 4]) -> Result<Graph, GraphError> {
        let ([_, _, height, width], divisor) = (input, self.size_divisor());
        if !height.is_multiple_of(divisor) || !width.is_multiple_of(divisor) {
            return Err(GraphError::Size { network: self.name(), width, height, divisor });
        }
        match self {
            Model::NanoDetPlus(config) => config.graph(form, input),
        }
    }
}

fn description(config: &NanoDetPlus) -> String {
    let width = ShuffleNet::WIDTHS.iter().find(|(_, width)| *width == config.backbone);
    let width = width.map_or_else(|| format!("{:?}", config.backbone.stages), |(name, _)| (*name).to_owned());
    format!("nanodet-plus-{width}-{}", config.channels)
}
