//! The TOML of a table, read into checked types.

use converters::Dtype;
use serde::Deserialize;

use super::expression::Expression;
use super::fault::TableFault;
use super::operation::Operation;
use super::pattern::Pattern;
use super::root::Root;
use super::rule::Rule;
use super::table::{DefaultRule, DropRule, Filling, Table};

/// Longest table, in bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;
/// Most patterns of all rules, drops and defaults of a table together.
const MAX_PATTERNS: usize = 1024;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableText {
    family: String,
    dialect: String,
    description: String,
    #[serde(default)]
    source: String,
    part: Option<String>,
    root: Vec<RootText>,
    rule: Vec<RuleText>,
    #[serde(default)]
    drop: Vec<DropText>,
    #[serde(default)]
    default: Vec<DefaultText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootText {
    name: String,
    path: OneOrMore<String>,
    prefix: OneOrMore<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    foreign: OneOrMore<String>,
    canonical: OneOrMore<String>,
    op: Option<OneOrMore<OperationText>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DropText {
    foreign: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DefaultText {
    canonical: String,
    value: FillingText,
    #[serde(default = "f32_name")]
    dtype: String,
    #[serde(default)]
    absent: AbsentText,
    reason: String,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum AbsentText {
    #[default]
    Sometimes,
    Always,
}

fn f32_name() -> String {
    Dtype::F32.name().to_owned()
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum FillingText {
    Word(String),
    Values(Vec<f64>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> OneOrMore<T> {
    fn len(&self) -> usize {
        match self {
            OneOrMore::One(_) => 1,
            OneOrMore::More(more) => more.len(),
        }
    }

    fn into_vec(self) -> Vec<T> {
        match self {
            OneOrMore::One(one) => vec![one],
            OneOrMore::More(more) => more,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OperationText {
    Split(PartsText),
    Concat(PartsText),
    Transpose(Vec<usize>),
    Reshape(ReshapeText),
    Squeeze(usize),
    Unsqueeze(usize),
    Cast(CastText),
    Reorder(ReorderText),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartsText {
    axis: usize,
    sizes: Vec<SizeText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReshapeText {
    foreign: Vec<SizeText>,
    canonical: Vec<SizeText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CastText {
    foreign: String,
    canonical: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReorderText {
    axis: usize,
    order: Vec<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SizeText {
    Number(u32),
    Expression(String),
}

/// Reads the text of a table; what its lines say of each other is for `proof` to check.
pub(super) fn read(text: &str, origin: &str) -> Result<Table, TableFault> {
    if text.len() > MAX_BYTES {
        return Err(TableFault::TooLarge { what: "bytes", limit: MAX_BYTES });
    }
    let text: TableText = toml::from_str(text)?;
    let patterns = text.rule.iter().map(|rule| rule.foreign.len() + rule.canonical.len()).sum::<usize>();
    if patterns + text.drop.len() + text.default.len() + text.root.len() > MAX_PATTERNS {
        return Err(TableFault::TooLarge { what: "patterns", limit: MAX_PATTERNS });
    }
    if text.root.is_empty() || text.rule.is_empty() {
        return Err(TableFault::Empty(if text.root.is_empty() {
            "the list of roots"
        } else {
            "the list of rules"
        }));
    }
    Ok(Table {
        origin: origin.to_owned(),
        family: word(text.family)?,
        dialect: word(text.dialect)?,
        description: text.description,
        source: text.source,
        part: text.part.as_deref().map(Pattern::parse).transpose()?,
        roots: text.root.into_iter().map(root).collect::<Result<_, _>>()?,
        rules: text.rule.into_iter().map(rule).collect::<Result<_, _>>()?,
        drops: text.drop.into_iter().map(drop_line).collect::<Result<_, _>>()?,
        defaults: text.default.into_iter().map(default).collect::<Result<_, _>>()?,
    })
}

fn word(text: String) -> Result<String, TableFault> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.is_empty() || !text.chars().all(is_plain) {
        return Err(TableFault::Name(text));
    }
    Ok(text)
}

fn root(text: RootText) -> Result<Root, TableFault> {
    let (paths, prefixes) = (text.path.into_vec(), text.prefix.into_vec());
    if paths.is_empty() || prefixes.is_empty() {
        return Err(TableFault::Empty("a root's list of paths or prefixes"));
    }
    Ok(Root { name: word(text.name)?, paths, prefixes })
}

fn rule(text: RuleText) -> Result<Rule, TableFault> {
    let (foreign, canonical) = (text.foreign.into_vec(), text.canonical.into_vec());
    if foreign.is_empty() || canonical.is_empty() {
        return Err(TableFault::Empty("a side of a rule"));
    }
    let texts: Vec<&str> = foreign.iter().chain(&canonical).map(String::as_str).collect();
    let mut patterns = Pattern::parse_rule(&texts)?;
    let canonical = patterns.split_off(foreign.len());
    let operations = text.op.map(OneOrMore::into_vec).unwrap_or_default();
    let operations = operations.into_iter().map(operation).collect::<Result<_, _>>()?;
    Ok(Rule { foreign: patterns, canonical, operations })
}

fn operation(text: OperationText) -> Result<Operation, TableFault> {
    Ok(match text {
        OperationText::Split(text) => Operation::Split { axis: text.axis, sizes: sizes(text.sizes)? },
        OperationText::Concat(text) => Operation::Concat { axis: text.axis, sizes: sizes(text.sizes)? },
        OperationText::Transpose(order) => Operation::Transpose(order),
        OperationText::Reshape(text) => {
            Operation::Reshape { foreign: sizes(text.foreign)?, canonical: sizes(text.canonical)? }
        }
        OperationText::Squeeze(axis) => Operation::Squeeze(axis),
        OperationText::Unsqueeze(axis) => Operation::Unsqueeze(axis),
        OperationText::Cast(text) => {
            Operation::Cast { foreign: dtype(&text.foreign)?, canonical: dtype(&text.canonical)? }
        }
        OperationText::Reorder(text) => Operation::Reorder { axis: text.axis, order: text.order },
    })
}

fn sizes(texts: Vec<SizeText>) -> Result<Vec<Expression>, TableFault> {
    let size = |text| match text {
        SizeText::Number(number) => Ok(Expression::from(number)),
        SizeText::Expression(text) => Ok(text.parse()?),
    };
    texts.into_iter().map(size).collect()
}

fn dtype(name: &str) -> Result<Dtype, TableFault> {
    let found = Dtype::ALL.into_iter().find(|dtype| dtype.name() == name);
    found.ok_or_else(|| TableFault::Dtype(name.to_owned()))
}

fn drop_line(text: DropText) -> Result<DropRule, TableFault> {
    Ok(DropRule { foreign: Pattern::parse(&text.foreign)?, reason: text.reason })
}

fn default(text: DefaultText) -> Result<DefaultRule, TableFault> {
    let value = match text.value {
        FillingText::Values(values) => Filling::Values(values),
        FillingText::Word(word) => match word.as_str() {
            "zeros" => Filling::Zeros,
            "ones" => Filling::Ones,
            "model" => Filling::Model,
            _ => return Err(TableFault::Filling(word)),
        },
    };
    let (canonical, dtype) = (Pattern::parse(&text.canonical)?, dtype(&text.dtype)?);
    Ok(DefaultRule {
        canonical,
        value,
        dtype,
        is_always: text.absent == AbsentText::Always,
        reason: text.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the documentation is a table.
    #[test]
    fn the_documented_example_is_read() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/mapping.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (_, example) = text.split_once("```toml\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        let table = Table::parse(example, "docs/mapping.md").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((table.rules.len(), table.roots.len(), table.defaults.len()), (3, 2, 1));
    }
}
