//! `port mapping`: the tables that relate the names of other code bases to the networks'.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;

use crate::failure::Result;
use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use super::network::find_table;
use super::outcome::{Report, Usage};
use crate::report::{Align, Table};
use network::models::{FAMILIES, Family, Model, family};
use port::identify::{expected_parameters, figures};
use port::mapping::{Move, Table as Mappings, TableFault, tables};

/// Arguments of `port mapping`.
#[derive(Debug, Args)]
pub(super) struct Mapping {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the tables that are built in
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Prove tables one-to-one and complete for every network of their family
    Check {
        /// Built-in tables or files; by default all built-in ones
        tables: Vec<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show a table's rules, each with an example
    Show {
        /// A built-in table or a file
        table: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

impl Mapping {
    pub(super) fn json(&self) -> bool {
        match self.command {
            Command::List { json } | Command::Check { json, .. } | Command::Show { json, .. } => json,
        }
    }

    pub(super) fn run(&self) -> Result<Report> {
        match &self.command {
            Command::List { .. } => Ok(list()),
            Command::Check { tables, .. } => check(tables),
            Command::Show { table, .. } => show(&*find_table(table)?),
        }
    }
}

fn list() -> Report {
    let mut table = Table::new(["table", "rules", "what it reads"].map(|name| (name, Align::Left)));
    for mapping in tables() {
        let rules = mapping.rules().len().to_string();
        table.row(vec![mapping.name(), rules, mapping.description().to_owned()]);
    }
    let documents: Vec<Json> = tables().iter().map(head).collect();
    Report { text: table.to_string(), json: json!({ "tables": documents }), answer: true }
}

fn head(mapping: &Mappings) -> Json {
    json!({
        "name": mapping.name(),
        "family": mapping.family(),
        "dialect": mapping.dialect(),
        "description": mapping.description(),
        "source": mapping.source(),
        "rules": mapping.rules().len(),
    })
}

fn family_of(mapping: &Mappings) -> Result<&'static Family> {
    family(mapping.family()).ok_or_else(|| {
        let names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        let (origin, family) = (mapping.origin(), mapping.family());
        Usage(format!("{origin}: there is no family `{family}`; there are {}", names.join(", "))).into()
    })
}

/// Numbers of classes that tables are proved for: one, two as a boundary of it, and those of VOC, COCO, Objects365.
const CLASSES: [usize; 5] = [1, 2, 20, 80, 365];

/// Every variant of a family that a table has to serve.
fn variants(family: &Family) -> Vec<Model> {
    let forms = family.presets.iter().flat_map(|preset| preset.model().with_and_without_auxiliary());
    forms.flat_map(|model| CLASSES.map(|classes| model.with_classes(classes))).collect()
}

/// What was found out about a table.
struct Finding {
    name: String,
    networks: usize,
    /// Network, and what is wrong with the table for it.
    faults: Vec<(String, String)>,
    /// Rules that no network needs.
    unused: Vec<String>,
}

fn check(names: &[String]) -> Result<Report> {
    let findings: Vec<Finding> = match names {
        [] => tables().iter().map(examine).collect::<Result<_>>()?,
        names => names.iter().map(|name| check_one(name)).collect::<Result<_>>()?,
    };
    let holds = findings.iter().all(|finding| finding.faults.is_empty());
    let documents: Vec<Json> = findings.iter().map(Finding::document).collect();
    let json = json!({ "holds": holds, "tables": documents });
    Ok(Report { text: told(&findings)?, json, answer: holds })
}

/// A table that contradicts itself is an answer too; one that cannot be read is not.
fn check_one(name: &str) -> Result<Finding> {
    let table: Cow<Mappings> = match Mappings::find(name) {
        Err(error) if !matches!(error.fault, TableFault::Io(_) | TableFault::Toml(_)) => {
            let faults = vec![("any network".to_owned(), error.fault.to_string())];
            return Ok(Finding { name: name.to_owned(), networks: 0, faults, unused: Vec::new() });
        }
        _ => find_table(name)?,
    };
    examine(&table)
}

fn examine(mapping: &Mappings) -> Result<Finding> {
    let variants = variants(family_of(mapping)?);
    let mut finding =
        Finding { name: mapping.name(), networks: variants.len(), faults: Vec::new(), unused: Vec::new() };
    let mut used: BTreeMap<usize, Move> = BTreeMap::new();
    for model in &variants {
        match mapping.cover(&expected_parameters(model)?, &figures(model)) {
            Ok(coverage) => used.extend(coverage.used),
            Err(error) => {
                let network = format!("{}, {} classes", model.name(), model.classes());
                finding.faults.push((network, error.to_string()));
            }
        }
    }
    let unused = mapping.rules().iter().enumerate().filter(|(index, _)| !used.contains_key(index));
    finding.unused = unused.map(|(_, rule)| rule.to_string()).collect();
    Ok(finding)
}

impl Finding {
    fn verdict(&self) -> &'static str {
        if self.faults.is_empty() { "one-to-one and complete" } else { "refuted" }
    }

    fn document(&self) -> Json {
        let faults = self.faults.iter().map(|(network, fault)| json!({ "network": network, "fault": fault }));
        json!({
            "name": self.name,
            "holds": self.faults.is_empty(),
            "networks": self.networks,
            "faults": faults.collect::<Vec<_>>(),
            "unused_rules": self.unused,
        })
    }
}

fn told(findings: &[Finding]) -> Result<String> {
    let columns = [("table", Align::Left), ("networks", Align::Right), ("verdict", Align::Left)];
    let mut table = Table::new(columns);
    for finding in findings {
        let networks = finding.networks.to_string();
        table.row(vec![finding.name.clone(), networks, finding.verdict().to_owned()]);
    }
    let mut text = table.to_string();
    for finding in findings {
        if let Some((network, fault)) = finding.faults.first() {
            writeln!(text, "\n{} for {network}: {fault}", finding.name)?;
        }
        if let others @ 1.. = finding.faults.len().saturating_sub(1) {
            writeln!(text, "({others} other networks are affected too; --json has all)")?;
        }
        for rule in finding.unused.iter().filter(|_| finding.faults.is_empty()) {
            writeln!(text, "\n{}: no network needs the rule {rule}", finding.name)?;
        }
    }
    Ok(text)
}

fn show(mapping: &Mappings) -> Result<Report> {
    let family = family_of(mapping)?;
    let preset = family.presets.first();
    let mut examples = BTreeMap::new();
    if let Some(preset) = preset {
        let expected = expected_parameters(&preset.model())?;
        // A table that does not cover the network can still be shown.
        let coverage = mapping.cover(&expected, &figures(&preset.model()));
        examples = coverage.map(|coverage| coverage.used).unwrap_or_default();
    }
    let json = rules_document(mapping, &examples);
    Ok(Report { text: shown(mapping, &examples)?, json, answer: true })
}

/// The names of an example, `a + b => c`.
fn example(one: &Move) -> String {
    format!("{} => {}", one.foreign.join(" + "), one.canonical.join(" + "))
}

fn shown(mapping: &Mappings, examples: &BTreeMap<usize, Move>) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "{}: {}", mapping.name(), mapping.description())?;
    writeln!(text, "source: {}\n", mapping.source())?;
    let mut table = Table::new(["--weights", "in", "names begin with"].map(|name| (name, Align::Left)));
    for root in mapping.roots() {
        let paths = alternatives(root.paths(), "the whole file");
        table.row(vec![root.name().to_owned(), paths, alternatives(root.prefixes(), "anything")]);
    }
    writeln!(text, "{table}\nrules (that code base => the network)")?;
    for (index, rule) in mapping.rules().iter().enumerate() {
        writeln!(text, "  {rule}")?;
        let example = examples.get(&index).map(example);
        writeln!(text, "      {}", example.unwrap_or_else(|| "no network needs it".to_owned()))?;
    }
    for drop in mapping.drops() {
        writeln!(text, "left behind: {}\n      {}", drop.foreign(), drop.reason())?;
    }
    for default in mapping.defaults() {
        let when = if default.is_always() { "never there" } else { "may be absent" };
        writeln!(text, "{when}: {} = {}\n      {}", default.canonical(), default.value(), default.reason())?;
    }
    Ok(text)
}

/// Alternatives in order; the empty one needs a name.
fn alternatives(texts: &[String], empty: &str) -> String {
    let texts: Vec<&str> = texts.iter().map(|text| if text.is_empty() { empty } else { text }).collect();
    texts.join(", ")
}

fn rules_document(mapping: &Mappings, examples: &BTreeMap<usize, Move>) -> Json {
    let roots = mapping
        .roots()
        .iter()
        .map(|root| json!({ "name": root.name(), "paths": root.paths(), "prefixes": root.prefixes() }));
    let rules = mapping.rules().iter().enumerate().map(|(index, rule)| {
        let operations: Vec<String> = rule.operations().iter().map(ToString::to_string).collect();
        let example = examples.get(&index).map(|one| json!({ "from": one.foreign, "to": one.canonical }));
        json!({
            "foreign": rule.foreign().collect::<Vec<_>>(),
            "canonical": rule.canonical().collect::<Vec<_>>(),
            "operations": operations,
            "example": example,
        })
    });
    let drops = mapping.drops().iter().map(|one| json!({ "foreign": one.foreign(), "reason": one.reason() }));
    let defaults = mapping.defaults().iter().map(|one| {
        json!({
            "canonical": one.canonical(),
            "value": one.value().to_string(),
            "always_absent": one.is_always(),
            "reason": one.reason(),
        })
    });
    let mut document = head(mapping);
    if let Some(document) = document.as_object_mut() {
        document.insert("roots".to_owned(), roots.collect());
        document.insert("rules".to_owned(), rules.collect());
        document.insert("drops".to_owned(), drops.collect());
        document.insert("defaults".to_owned(), defaults.collect());
    }
    document
}
