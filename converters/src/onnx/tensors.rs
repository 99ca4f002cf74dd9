//! Finding the tensors of a model: initializers, then Constant nodes and subgraphs in the order of the nodes.

use std::collections::HashSet;

use bytes::Bytes;

use super::external::ExternalFiles;
use super::messages::{
    AttributeProto, AttributeType, DataType, FunctionProto, GraphProto, ModelProto, NodeProto,
    SparseTensorProto, TensorProto,
};
use super::payload;
use crate::checkpoint::Note;
use crate::dtype::Dtype;
use crate::error::{Error, InFile, Problem, Result};
use crate::source::Source;
use crate::storage::Storage;
use crate::tensor::{Change, Tensor, View};
use crate::value::Key;

/// What a model holds.
pub(super) struct Found {
    pub(super) tensors: Vec<Tensor>,
    pub(super) notes: Vec<Note>,
    /// Whether any tensor has its data in another file.
    pub(super) external: bool,
}

/// Finds the tensors of the inference graph. Functions and training graphs are noted, not read: names in the
/// former are local to each call, and the latter work on the same weights.
///
/// # Errors
/// When a tensor is malformed, of an unsupported type, or not the only one of its name in its graph.
pub(super) fn collect(model: &ModelProto, source: &Source) -> Result<Found> {
    let files = ExternalFiles::new(source);
    let mut finder = Finder { source, files, tensors: Vec::new(), notes: Vec::new() };
    if let Some(graph) = &model.graph {
        finder.graph(graph)?;
    }
    for function in model.functions.iter().filter(|function| has_constants(function)) {
        finder.note(format!("function {}", function.name), "constants inside functions are not read");
    }
    if !model.training_info.is_empty() {
        finder.note("training_info".to_owned(), "only the inference graph is read");
    }
    Ok(Found { external: finder.files.any(), tensors: finder.tensors, notes: finder.notes })
}

fn has_constants(function: &FunctionProto) -> bool {
    function.node.iter().any(is_constant)
}

fn is_constant(node: &NodeProto) -> bool {
    node.op_type == "Constant" && matches!(&*node.domain, "" | "ai.onnx")
}

struct Finder<'a> {
    source: &'a Source,
    files: ExternalFiles<'a>,
    tensors: Vec<Tensor>,
    notes: Vec<Note>,
}

impl Finder<'_> {
    /// The tensors of a graph and of those inside it. The depth was bounded before decoding.
    fn graph(&mut self, graph: &GraphProto) -> Result<()> {
        let mut names = HashSet::new();
        for (i, tensor) in graph.initializer.iter().enumerate() {
            if tensor.name.is_empty() {
                let place = format!("initializer {i} of graph `{}`", graph.name);
                return self.fail(Problem::malformed(place, "it has no name"));
            }
            self.claim(&mut names, &tensor.name)?;
            self.tensor(&tensor.name, tensor)?;
        }
        if let Some(tensor) = graph.sparse_initializer.first() {
            return self.fail(sparse(&name_of(tensor)));
        }
        for (i, node) in graph.node.iter().enumerate() {
            match is_constant(node) {
                true => self.constant(node, i, graph, &mut names)?,
                false => self.subgraphs(node)?,
            }
        }
        Ok(())
    }

    /// The graphs of a loop or of branches. Writers sort attributes by name; `then` is still read before `else`.
    fn subgraphs(&mut self, node: &NodeProto) -> Result<()> {
        let (then, others): (Vec<_>, Vec<_>) =
            node.attribute.iter().partition(|attribute| attribute.name == "then_branch");
        for attribute in then.into_iter().chain(others) {
            let mut graphs = attribute.g.as_deref().into_iter().chain(&attribute.graphs);
            graphs.try_for_each(|graph| self.graph(graph))?;
        }
        Ok(())
    }

    /// The value of a Constant node, under the name of the node's output.
    fn constant<'g>(
        &mut self,
        node: &'g NodeProto,
        position: usize,
        graph: &GraphProto,
        names: &mut HashSet<&'g str>,
    ) -> Result<()> {
        let place = || format!("Constant node {position} `{}` of graph `{}`", node.name, graph.name);
        let [name] = &*node.output else {
            return self.fail(Problem::malformed(place(), "it does not have exactly one output"));
        };
        let mut values = node.attribute.iter().filter(|attribute| is_value(&attribute.name));
        let (Some(value), None) = (values.next(), values.next()) else {
            return self.fail(Problem::malformed(place(), "it does not have exactly one value"));
        };
        if name.is_empty() {
            return self.fail(Problem::malformed(place(), "its output has no name"));
        }
        self.claim(names, name)?;
        self.value(name, value)
    }

    fn value(&mut self, name: &str, value: &AttributeProto) -> Result<()> {
        check_type(name, value).in_file(&self.source.path)?;
        match (&*value.name, &value.t) {
            ("value", Some(tensor)) => self.tensor(name, tensor),
            ("value_float", _) => {
                self.numbers(name, Dtype::F32, &[value.f.unwrap_or(0.0)], f32::to_le_bytes, true)
            }
            ("value_floats", _) => self.numbers(name, Dtype::F32, &value.floats, f32::to_le_bytes, false),
            ("value_int", _) => {
                self.numbers(name, Dtype::I64, &[value.i.unwrap_or(0)], i64::to_le_bytes, true)
            }
            ("value_ints", _) => self.numbers(name, Dtype::I64, &value.ints, i64::to_le_bytes, false),
            ("sparse_value", _) => self.fail(sparse(name)),
            ("value_string" | "value_strings", _) => {
                self.text(name);
                Ok(())
            }
            _ => self.fail(Problem::malformed(tensor_place(name), "its Constant node holds no tensor")),
        }
    }

    /// A constant written as numbers of an attribute, one dimension of them or a `scalar`.
    fn numbers<T: Copy, const N: usize>(
        &mut self,
        name: &str,
        dtype: Dtype,
        numbers: &[T],
        to_bytes: fn(T) -> [u8; N],
        scalar: bool,
    ) -> Result<()> {
        let bytes: Bytes = numbers.iter().flat_map(|number| to_bytes(*number)).collect();
        let place = tensor_place(name);
        let shape = if scalar { Vec::new() } else { vec![numbers.len()] };
        let storage = Storage::raw(self.source.path.clone(), format!("the value of {place}"), bytes);
        let view = View::whole(&place, storage.into(), 0, dtype, shape, Change::default());
        self.add(name, view.in_file(&self.source.path)?);
        Ok(())
    }

    fn tensor(&mut self, name: &str, tensor: &TensorProto) -> Result<()> {
        if tensor.data_type == DataType::String as i32 {
            self.text(name);
            return Ok(());
        }
        let view = payload::view(name, tensor, &mut self.files)?;
        self.add(name, view);
        Ok(())
    }

    fn add(&mut self, name: &str, view: View) {
        self.tensors.push(Tensor::new(vec![Key::Text(name.to_owned())], view));
    }

    /// Refuses a second tensor of one name in a graph.
    fn claim<'g>(&self, names: &mut HashSet<&'g str>, name: &'g str) -> Result<()> {
        if names.insert(name) {
            return Ok(());
        }
        self.fail(Problem::malformed(tensor_place(name), "its graph has another tensor of this name"))
    }

    fn text(&mut self, name: &str) {
        self.note(name.to_owned(), "a tensor of texts (STRING), which no other format holds");
    }

    fn note(&mut self, name: String, reason: &str) {
        self.notes.push(Note { name, reason: reason.to_owned() });
    }

    fn fail<T>(&self, problem: Problem) -> Result<T> {
        Err(Error::new(&*self.source.path, problem))
    }
}

fn tensor_place(name: &str) -> String {
    format!("tensor `{name}`")
}

fn name_of(tensor: &SparseTensorProto) -> String {
    tensor.values.as_ref().map(|values| values.name.clone()).unwrap_or_default()
}

fn sparse(name: &str) -> Problem {
    let remedy = "store the tensor dense: every element, zeros included";
    Problem::unsupported(tensor_place(name), "a sparse tensor", remedy)
}

/// The attributes that give a Constant node its value.
fn is_value(attribute: &str) -> bool {
    value_type(attribute).is_some()
}

fn value_type(attribute: &str) -> Option<AttributeType> {
    Some(match attribute {
        "value" => AttributeType::Tensor,
        "value_float" => AttributeType::Float,
        "value_floats" => AttributeType::Floats,
        "value_int" => AttributeType::Int,
        "value_ints" => AttributeType::Ints,
        "value_string" => AttributeType::String,
        "value_strings" => AttributeType::Strings,
        "sparse_value" => AttributeType::SparseTensor,
        _ => return None,
    })
}

/// An absent number is zero only if the attribute says that it is a number: writers of the newer protobuf leave
/// zeros out. Models of IR version 1 say no type.
fn check_type(name: &str, value: &AttributeProto) -> std::result::Result<(), Problem> {
    let wanted = value_type(&value.name);
    let present = match wanted {
        Some(AttributeType::Float) => value.f.is_some(),
        Some(AttributeType::Int) => value.i.is_some(),
        _ => true,
    };
    match AttributeType::try_from(value.r#type) {
        Ok(AttributeType::Undefined) if present => Ok(()),
        Ok(said) if Some(said) == wanted => Ok(()),
        _ => Err(Problem::Contradiction {
            place: tensor_place(name),
            says: format!("its value is the attribute {}", value.name),
            but: format!("the type of that attribute is {}", value.r#type),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn constant(output: &str, attribute: AttributeProto) -> NodeProto {
        NodeProto {
            op_type: "Constant".to_owned(),
            output: vec![output.to_owned()],
            attribute: vec![attribute],
            ..NodeProto::default()
        }
    }

    fn int(name: &str, i: Option<i64>, kind: AttributeType) -> AttributeProto {
        AttributeProto { name: name.to_owned(), i, r#type: kind as i32, ..AttributeProto::default() }
    }

    fn collect_nodes(node: Vec<NodeProto>) -> Result<Found> {
        let graph = GraphProto { node, ..GraphProto::default() };
        let model = ModelProto { graph: Some(graph), ..ModelProto::default() };
        collect(&model, &Source { path: Path::new("m.onnx").into(), bytes: Bytes::new() })
    }

    #[test]
    fn zeros_that_the_writer_left_out_are_zeros() {
        let found = collect_nodes(vec![constant("n", int("value_int", None, AttributeType::Int))]).unwrap();
        assert_eq!(found.tensors[0].bytes().unwrap(), [0; 8]);
        assert!(found.tensors[0].shape().is_empty());
        let found =
            collect_nodes(vec![constant("n", int("value_int", Some(3), AttributeType::Undefined))]).unwrap();
        assert_eq!(found.tensors[0].bytes().unwrap(), 3_i64.to_le_bytes());
        for kind in [AttributeType::Undefined, AttributeType::Float] {
            assert!(collect_nodes(vec![constant("n", int("value_int", None, kind))]).is_err());
        }
    }

    #[test]
    fn constants_have_one_name_and_one_value() {
        let value = int("value_int", Some(1), AttributeType::Int);
        let both =
            NodeProto { attribute: vec![value.clone(), value.clone()], ..constant("n", value.clone()) };
        let nameless = NodeProto { output: Vec::new(), ..constant("n", value.clone()) };
        for nodes in [vec![both], vec![nameless], vec![constant("", value.clone())]] {
            assert!(collect_nodes(nodes).is_err());
        }
        let twice = vec![constant("n", value.clone()), constant("n", value.clone())];
        assert!(collect_nodes(twice).err().unwrap().to_string().contains("tensor `n`"));
        let other = NodeProto { domain: "com.example".to_owned(), ..constant("n", value) };
        assert!(collect_nodes(vec![other]).unwrap().tensors.is_empty());
    }

    #[test]
    fn texts_are_noted() {
        let text = AttributeProto {
            name: "value_string".to_owned(),
            r#type: AttributeType::String as i32,
            ..AttributeProto::default()
        };
        let found = collect_nodes(vec![constant("label", text)]).unwrap();
        assert!(found.tensors.is_empty());
        assert_eq!(found.notes[0].name, "label");
    }
}
