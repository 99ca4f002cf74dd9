//! `port models`: the networks that are known, and their layers.

use std::fmt::Write;

use crate::failure::{Error, Result};
use clap::Args;
use serde_json::{Value as Json, json};

use super::outcome::{Report, Usage};
use super::size::image_size;
use crate::report::{Align, Table, count, number};
use network::graph::cost::{Cost, costs};
use network::graph::rewrite::deploy;
use network::graph::{Graph, GraphError, Module, Node};
use network::models::{FAMILIES, Family, Form, Model, Preset, Size};
use port::detect::Placement;

/// Arguments of `port models`.
#[derive(Debug, Args)]
pub(super) struct Models {
    /// The network whose layers are to be listed; all networks without
    name: Option<String>,
    /// Size of the input in pixels, one side or WIDTHxHEIGHT; by default the one of the original
    #[arg(long, value_name = "SIZE", value_parser = image_size)]
    input: Option<Size>,
    /// Number of classes; by default that of the original
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_CLASSES))]
    classes: Option<u32>,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// More classes than any data set has.
const MAX_CLASSES: i64 = 65_536;

/// A network in the forms whose costs are told apart.
struct Forms {
    training: Graph,
    inference: Graph,
    /// The inference form with branches merged and batch norms folded.
    deploy: Graph,
}

impl Forms {
    fn write(model: &Model, input: [usize; 4]) -> Result<Forms> {
        let graph = |form| {
            model.graph(form, input).map_err(|error| match error {
                GraphError::Size { .. } => Usage(error.to_string()).into(),
                error => Error::from(error),
            })
        };
        let inference = graph(Form::Inference)?;
        let (deploy, _) = deploy(&inference);
        Ok(Forms { training: graph(Form::Training)?, inference, deploy })
    }
}

fn total(graph: &Graph) -> Cost {
    costs(graph).first().copied().unwrap_or_default()
}

impl Models {
    pub(super) fn run(&self) -> Result<Report> {
        let presets: Vec<(&Family, &Preset)> = FAMILIES
            .iter()
            .flat_map(|family| family.presets.iter().map(move |preset| (*family, preset)))
            .collect();
        let Some(name) = &self.name else {
            return self.all(&presets);
        };
        let found = presets.iter().find(|(_, preset)| preset.name == name);
        let (family, preset) = found.ok_or_else(|| {
            let names: Vec<&str> = presets.iter().map(|(_, preset)| preset.name).collect();
            Usage(format!("there is no network `{name}`; there are {}", names.join(", ")))
        })?;
        self.one(family, preset)
    }

    fn model(&self, preset: &Preset) -> Model {
        let classes = self.classes.map(|classes| preset.model().with_classes(classes as usize));
        classes.unwrap_or_else(|| preset.model())
    }

    fn size(&self, preset: &Preset) -> Size {
        self.input.unwrap_or(preset.size)
    }

    fn all(&self, presets: &[(&Family, &Preset)]) -> Result<Report> {
        let left = ["network", "input"].map(|name| (name, Align::Left));
        let right =
            ["classes", "parameters", "with training branches", "GFLOPs"].map(|name| (name, Align::Right));
        let mut table = Table::new(
            left.into_iter().chain(right).chain(["checked against", "paper"].map(|name| (name, Align::Left))),
        );
        let mut documents = Vec::new();
        for (family, preset) in presets {
            let (model, size) = (self.model(preset), self.size(preset));
            let forms = Forms::write(&model, size.batch(1))?;
            let (training, inference) = (total(&forms.training), total(&forms.inference));
            table.row(vec![
                preset.name.to_owned(),
                size.to_string(),
                model.classes().to_string(),
                count(inference.parameters),
                count(training.parameters),
                number(inference.flops as f64 / 1e9),
                family.source.to_owned(),
                family.paper.to_owned(),
            ]);
            documents.push(document(family, preset, &model, size, &forms));
        }
        Ok(Report { text: table.to_string(), json: json!({ "models": documents }), answer: true })
    }

    fn one(&self, family: &Family, preset: &Preset) -> Result<Report> {
        let (model, size) = (self.model(preset), self.size(preset));
        let forms = Forms::write(&model, size.batch(1))?;
        let mut text = String::new();
        writeln!(text, "{}, {} classes", preset.name, model.classes())?;
        writeln!(text, "checked against {}; paper: {}", family.source, family.paper)?;
        writeln!(text, "input {size} pixels")?;
        writeln!(text, "{}\n", points(&model, size))?;
        write!(text, "{}", layer_table(&forms.training))?;
        let rows = [
            ("training form", &forms.training),
            ("inference form", &forms.inference),
            ("deploy form (merged and folded)", &forms.deploy),
        ];
        let right = ["parameters", "buffers", "GFLOPs"].map(|name| (name, Align::Right));
        let mut table = Table::new([("total", Align::Left)].into_iter().chain(right));
        for (name, graph) in rows {
            let Cost { parameters, buffers, flops } = total(graph);
            table.row(vec![name.to_owned(), count(parameters), count(buffers), number(flops as f64 / 1e9)]);
        }
        write!(text, "\n{table}")?;
        let mut json = document(family, preset, &model, size, &forms);
        if let Some(json) = json.as_object_mut() {
            json.insert("layers".to_owned(), layers(&forms.training).map(|layer| layer.document()).collect());
        }
        Ok(Report { text, json, answer: true })
    }
}

/// A module that computes something itself.
struct Layer<'a> {
    module: &'a Module,
    node: &'a Node,
    cost: Cost,
}

/// Modules with an operator, in the order in which data flows, each once.
fn layers(graph: &Graph) -> impl Iterator<Item = Layer<'_>> {
    let costs = costs(graph);
    let mut seen = vec![false; graph.modules().len()];
    graph.nodes().iter().filter_map(move |node| {
        let id = node.module;
        let module = graph.modules().get(id.index())?;
        let is_leaf = module.children.is_empty() && !module.path.is_empty();
        let is_new = is_leaf && !std::mem::replace(seen.get_mut(id.index())?, true);
        is_new.then(|| Layer { module, node, cost: costs.get(id.index()).copied().unwrap_or_default() })
    })
}

impl Layer<'_> {
    fn document(&self) -> Json {
        json!({
            "module": self.module.path,
            "operator": self.node.op.name(),
            "output": self.node.shape,
            "parameters": self.cost.parameters,
            "buffers": self.cost.buffers,
            "flops": self.cost.flops,
        })
    }
}

fn layer_table(graph: &Graph) -> Table {
    let left = ["module", "operator", "output"].map(|name| (name, Align::Left));
    let right = ["parameters", "MFLOPs"].map(|name| (name, Align::Right));
    let mut table = Table::new(left.into_iter().chain(right));
    for layer in layers(graph) {
        let sizes: Vec<String> = layer.node.shape.iter().map(usize::to_string).collect();
        let quantity = |quantity: u64, text: String| if quantity == 0 { String::new() } else { text };
        table.row(vec![
            layer.module.path.clone(),
            layer.node.op.name().to_owned(),
            sizes.join("x"),
            quantity(layer.cost.parameters, count(layer.cost.parameters)),
            quantity(layer.cost.flops, number(layer.cost.flops as f64 / 1e6)),
        ]);
    }
    table
}

/// How many points the levels have, and how many where a picture of this size is padded first.
fn points(model: &Model, size: Size) -> String {
    let facts = model.facts(size);
    let counted = |size: Size| {
        let grids = facts.head.grids(size).map(|(_, grid)| grid.to_string()).collect::<Vec<_>>();
        format!("{} = {} points", grids.join(" + "), facts.head.points(size))
    };
    let strides: Vec<String> = facts.head.strides.iter().map(usize::to_string).collect();
    let mut text = format!("{} (strides {})", counted(size), strides.join(", "));
    let padded = Placement::new(&facts.preprocessing, size).input;
    if padded != size {
        text += &format!("; detection pads {size} to {padded}: {}", counted(padded));
    }
    text
}

fn document(family: &Family, preset: &Preset, model: &Model, size: Size, forms: &Forms) -> Json {
    let cost = |graph: &Graph| {
        let Cost { parameters, buffers, flops } = total(graph);
        json!({ "parameters": parameters, "buffers": buffers, "flops": flops })
    };
    json!({
        "name": preset.name,
        "family": family.name,
        "source": family.source,
        "paper": family.paper,
        "points": model.facts(size).head.points(size),
        "classes": model.classes(),
        "input": { "width": size.width, "height": size.height },
        "training": cost(&forms.training),
        "inference": cost(&forms.inference),
        "deploy": cost(&forms.deploy),
    })
}
