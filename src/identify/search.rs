//! The search through tables and networks.

use converters::{Dtype, Tensor};

use super::error::IdentifyError;
use super::evidence::shapes;
use crate::mapping::{Expected, Mapping, MappingError, Table, Variables, Weights, tables};
use network::graph::{GraphError, Parameter, Role};
use network::models::{FAMILIES, Family, Form, Model};

/// What the user already knows about a file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// A preset or a family; `None` to find out.
    pub model: Option<&'a str>,
    /// The table; `None` to try those that are built in.
    pub table: Option<&'a Table>,
    /// The set of weights; `None` for the one that the table prefers.
    pub weights: Option<&'a str>,
}

/// A checkpoint that was recognised.
#[derive(Debug)]
pub struct Identified<'a> {
    /// The network, with the file's number of classes.
    pub model: Model,
    /// The table that explains the file.
    pub table: &'a Table,
    /// The set of weights.
    pub weights: Weights<'a>,
    /// How they become the network's parameters.
    pub mapping: Mapping,
}

/// The networks and tables that a file is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue<'a> {
    /// Families of networks.
    pub families: &'a [&'static Family],
    /// Tables for them, those of a family in the order in which they are tried.
    pub tables: &'a [Table],
}

/// The network whose weights the tensors of a file are, of those that are built in.
///
/// # Errors
/// As [`Catalogue::identify`].
pub fn identify<'a>(tensors: &'a [Tensor], request: Request<'a>) -> Result<Identified<'a>, IdentifyError> {
    Catalogue { families: FAMILIES, tables: tables() }.identify(tensors, request)
}

impl<'a> Catalogue<'a> {
    /// The network whose weights the tensors of a file are.
    ///
    /// # Errors
    /// When the file is no known network, or a tensor or parameter is unexplained: then the error names every one of
    /// them for the closest network and table.
    pub fn identify(
        &self,
        tensors: &'a [Tensor],
        request: Request<'a>,
    ) -> Result<Identified<'a>, IdentifyError> {
        let wanted = self.wanted(request.model)?;
        let candidates: Vec<&'a Table> = match request.table {
            Some(table) => vec![table],
            None => self.of_whole_networks().filter(|table| wanted.allows(table.family())).collect(),
        };
        let mut search = Search { tensors, best: None, closest: None };
        for guess in [Guess::Recognised, Guess::Presets] {
            for table in &candidates {
                search.try_table(table, self.family_of(table)?, guess, &wanted, request.weights);
                if search.best.as_ref().is_some_and(|best| best.invented() == 0) {
                    break;
                }
            }
            if search.best.is_some() || search.closest.as_ref().is_some_and(Attempt::is_plausible) {
                break;
            }
        }
        search.answer()
    }

    fn of_whole_networks(&self) -> impl Iterator<Item = &'a Table> {
        self.tables.iter().filter(|table| table.part().is_none())
    }

    /// The part of `model` whose weights the tensors of a file are: a backbone's, that training begins with.
    ///
    /// # Errors
    /// When no table for parts of the family explains the file as a part of this network; then the error names what
    /// is in the way of the closest.
    pub fn identify_part(
        &self,
        tensors: &'a [Tensor],
        model: &Model,
    ) -> Result<Identified<'a>, IdentifyError> {
        let mut search = Search { tensors, best: None, closest: None };
        let tables = self.tables.iter().filter(|table| table.part().is_some());
        for table in tables.filter(|table| table.family() == model.family().name) {
            match (table.choose(tensors, None), Reading::new(model.clone(), table)) {
                (Ok(weights), Some(reading)) => drop(search.try_reading(reading, &weights)),
                (Err(error), _) => search.fail(Attempt::without_weights(error)),
                _ => {}
            }
        }
        search.answer()
    }

    fn family(&self, name: &str) -> Option<&'static Family> {
        self.families.iter().copied().find(|family| family.name == name)
    }

    fn family_of(&self, table: &Table) -> Result<&'static Family, IdentifyError> {
        self.family(table.family()).ok_or_else(|| IdentifyError::NoSuchFamily {
            table: table.name(),
            family: table.family().to_owned(),
            known: self.families.iter().map(|family| family.name).collect::<Vec<_>>().join(", "),
        })
    }

    /// What the user means by `name`, a preset or a family.
    fn wanted(&self, name: Option<&str>) -> Result<Wanted, IdentifyError> {
        let Some(name) = name else { return Ok(Wanted::Any) };
        let presets = || self.families.iter().flat_map(|family| family.presets);
        if let Some(preset) = presets().find(|preset| preset.name == name) {
            return Ok(Wanted::Preset(preset.model()));
        }
        self.family(name).map(|family| Wanted::Family(family.name)).ok_or_else(|| {
            let known = self.families.iter().map(|family| family.name);
            let known = known.chain(presets().map(|preset| preset.name)).collect::<Vec<_>>().join(", ");
            IdentifyError::NoSuchModel { name: name.to_owned(), known }
        })
    }
}

/// The part of `model` whose weights the tensors of a file are, by the tables that are built in.
///
/// # Errors
/// As [`Catalogue::identify_part`].
pub fn identify_part<'a>(tensors: &'a [Tensor], model: &Model) -> Result<Identified<'a>, IdentifyError> {
    Catalogue { families: FAMILIES, tables: tables() }.identify_part(tensors, model)
}

/// What every parameter of a network must be, in `state_dict` order, auxiliary branch included where it has one.
///
/// # Errors
/// When the configuration makes no network.
pub fn expected_parameters(model: &Model) -> Result<Vec<Expected>, GraphError> {
    // Names and shapes of parameters do not depend on the input's size.
    let graph = model.graph(Form::Training, model.usual_size().batch(1))?;
    Ok(graph.parameters().iter().map(expected).collect())
}

fn expected(parameter: &Parameter) -> Expected {
    let constant = match &parameter.role {
        Role::Constant(values) => Some(values.clone()),
        _ => None,
    };
    let dtype = if parameter.role == Role::BatchCount { Dtype::I64 } else { Dtype::F32 };
    Expected { name: parameter.name.clone(), shape: parameter.shape.clone(), dtype, constant }
}

/// The figures that tables may use in sizes.
pub fn figures(model: &Model) -> Variables {
    let figures = model.variables().into_iter();
    figures.map(|(name, value)| (name.to_owned(), i64::try_from(value).unwrap_or(i64::MAX))).collect()
}

/// The networks that the user allows.
enum Wanted {
    Any,
    Family(&'static str),
    Preset(Model),
}

impl Wanted {
    fn allows(&self, family: &str) -> bool {
        match self {
            Wanted::Any => true,
            Wanted::Family(name) => *name == family,
            Wanted::Preset(model) => model.family().name == family,
        }
    }

    /// What the file may be, as the user restricts it: with the auxiliary branch and without, as one odd tensor may
    /// look like the branch.
    fn models(&self, recognised: Option<Model>) -> Vec<Model> {
        let model = match (self, recognised) {
            (Wanted::Preset(model), Some(found)) => Some(model.with_classes(found.classes())),
            (Wanted::Preset(model), None) => Some(model.clone()),
            (_, found) => found,
        };
        model.map(|model| model.with_and_without_auxiliary()).unwrap_or_default()
    }
}

/// A file taken for a network by a table.
struct Reading<'a> {
    model: Model,
    table: &'a Table,
    expected: Vec<Expected>,
}

impl<'a> Reading<'a> {
    /// `None` when the shapes tell a configuration that makes no network.
    fn new(model: Model, table: &'a Table) -> Option<Self> {
        let expected = expected_parameters(&model).ok()?;
        Some(Reading { model, table, expected })
    }
}

/// Where the networks come from that a file is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    /// Its shapes tell them.
    Recognised,
    /// Too much is missing for that: the closest preset says what.
    Presets,
}

/// A reading that is not without fault.
struct Attempt<'a> {
    reading: Option<Reading<'a>>,
    error: MappingError,
    /// Tensors whose names the table explains, and things that it cannot explain.
    explained: usize,
    faults: usize,
}

struct Search<'a> {
    tensors: &'a [Tensor],
    best: Option<Identified<'a>>,
    closest: Option<Attempt<'a>>,
}

impl<'a> Search<'a> {
    fn try_table(
        &mut self,
        table: &'a Table,
        family: &Family,
        guess: Guess,
        wanted: &Wanted,
        weights: Option<&str>,
    ) {
        let weights = match table.choose(self.tensors, weights) {
            Ok(weights) => weights,
            Err(error) => return self.fail(Attempt::without_weights(error)),
        };
        let models: Vec<Model> = match guess {
            Guess::Recognised => wanted.models((family.recognise)(&shapes(table, &weights))),
            Guess::Presets => {
                let presets = family.presets.iter();
                presets.flat_map(|preset| preset.model().with_and_without_auxiliary()).collect()
            }
        };
        for reading in models.into_iter().filter_map(|model| Reading::new(model, table)) {
            if self.try_reading(reading, &weights) {
                break;
            }
        }
    }

    /// Whether the reading is without fault.
    fn try_reading(&mut self, reading: Reading<'a>, weights: &Weights<'a>) -> bool {
        let Reading { model, table, expected } = &reading;
        match table.apply(weights, expected, &figures(model)) {
            Ok(mapping) => {
                let (model, weights) = (model.clone(), weights.clone());
                let found = Identified { model, table, weights, mapping };
                if self.best.as_ref().is_none_or(|best| found.invented() < best.invented()) {
                    self.best = Some(found);
                }
                true
            }
            Err(error) => {
                let faults = error.problems().len();
                self.fail(Attempt { reading: Some(reading), error, explained: weights.explained, faults });
                false
            }
        }
    }

    /// Keeps the attempt with the fewest faults; the first of equals.
    fn fail(&mut self, attempt: Attempt<'a>) {
        if self.closest.as_ref().is_none_or(|closest| attempt.faults < closest.faults) {
            self.closest = Some(attempt);
        }
    }

    fn answer(self) -> Result<Identified<'a>, IdentifyError> {
        if let Some(best) = self.best {
            return Ok(best);
        }
        let example: String =
            self.tensors.first().map_or("", |tensor| tensor.name()).chars().take(80).collect();
        let unknown = |nearest| IdentifyError::Unknown { tensors: self.tensors.len(), example, nearest };
        match self.closest {
            None => Err(unknown(None)),
            Some(attempt) if !attempt.is_plausible() => match attempt.error {
                MappingError::NoWeights { wanted: Some(_), ref present, .. } if !present.is_empty() => {
                    Err(IdentifyError::Mapping { network: None, error: attempt.error })
                }
                _ => Err(unknown(attempt.nearest())),
            },
            Some(Attempt { reading, mut error, .. }) => {
                if let (Some(reading), MappingError::Unexplained(all)) = (&reading, &mut error) {
                    reading.table.suggest(all, &reading.expected);
                }
                let network = reading.map(|reading| describe(&reading.model));
                Err(IdentifyError::Mapping { network, error })
            }
        }
    }
}

impl Attempt<'_> {
    fn without_weights(error: MappingError) -> Self {
        Attempt { reading: None, error, explained: 0, faults: usize::MAX }
    }

    /// Whether the file may be meant to be this network: a few names in common do not make one.
    fn is_plausible(&self) -> bool {
        self.reading.is_some() && self.faults <= self.explained
    }

    fn nearest(&self) -> Option<String> {
        let network = describe(&self.reading.as_ref()?.model);
        Some(format!(
            "{network}, with {} names in common and {} things unexplained",
            self.explained, self.faults
        ))
    }
}

/// Network and classes, for a message.
fn describe(model: &Model) -> String {
    let auxiliary = if model.has_auxiliary() { " and the auxiliary branch" } else { "" };
    format!("{} with {} classes{auxiliary}", model.name(), model.classes())
}

impl Identified<'_> {
    /// Network and classes, for people.
    pub fn description(&self) -> String {
        let part = self.table.part().map_or(String::new(), |part| format!(", only {part}"));
        format!("{}{part}", describe(&self.model))
    }

    /// Tensors left behind or made up: the fewer, the better a table explains a file.
    fn invented(&self) -> usize {
        self.mapping.dropped.len() + self.mapping.defaulted.len()
    }
}
