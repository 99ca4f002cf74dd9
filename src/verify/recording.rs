//! What an original computed, read from a file.
//!
//! A recording holds `input` and values under the paths of the modules that gave them: `path` for the first call
//! of a module, `path#1` or `path@1` for the next, `path.0`, `path.1` for several results, `output.NAME` for what
//! the network gives. A value may be a sample: every k-th element, row-major, with k in a `report.json` beside the
//! file under `activations.PATH.step`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use converters::Checkpoint;
use serde_json::Value as Json;

use super::error::VerifyError;
use crate::identify::array;
use network::graph::{Array, Graph};

/// Names in recordings of values that are decoded from the raw output.
pub(super) const DECODED: [&str; 5] =
    ["output.priors", "output.scores", "output.distances", "output.boxes", YOLO];

/// Centre, width, height, objectness (always 1) and scores of each point, as YOLOs return them.
pub(super) const YOLO: &str = "output.decoded";

/// A value of the original.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    /// Name in the file.
    pub(super) name: String,
    /// A sample has one axis.
    pub(super) array: Array,
    /// Distance between recorded elements of the whole value; 1 for a whole value.
    pub(super) step: usize,
}

impl Recorded {
    /// The value, unless it is a sample.
    pub(super) fn whole(&self) -> Option<&Array> {
        (self.step == 1).then_some(&self.array)
    }

    /// Whether it is a value of `shape`, or a sample of one.
    pub(super) fn fits(&self, shape: &[usize]) -> bool {
        match self.step {
            1 => self.array.shape == shape,
            step => self.array.data.len() == shape.iter().product::<usize>().div_ceil(step),
        }
    }
}

/// An input and what an original made of it.
#[derive(Debug, Clone)]
pub struct Recording {
    pub(super) file: PathBuf,
    pub(super) input: Array,
    /// By the path of the tap in our graphs.
    pub(super) values: BTreeMap<String, Recorded>,
}

impl Recording {
    /// Reads a recording; `input` comes from another file where this one has none.
    ///
    /// # Errors
    /// A file that cannot be read, no input of shape `[N, 3, H, W]`, or a report beside it that is none.
    pub fn read(checkpoint: &Checkpoint, input: Option<&Checkpoint>) -> Result<Recording, VerifyError> {
        let file = checkpoint.path().to_owned();
        let source = if checkpoint.tensor("input").is_some() { Some(checkpoint) } else { input };
        let input = source.and_then(|source| source.tensor("input"));
        let input = array(input.ok_or_else(|| VerifyError::NoInput(file.clone()))?)?;
        let [_, 3, _, _] = input.shape[..] else {
            return Err(VerifyError::InputShape { file, shape: input.shape });
        };
        let steps = steps_beside(&file)?;
        let mut values = BTreeMap::new();
        for tensor in checkpoint.tensors().iter().filter(|tensor| tensor.name() != "input") {
            let name = tensor.name();
            let step = steps.get(name).copied().unwrap_or(1);
            let recorded = Recorded { name: name.to_owned(), array: array(tensor)?, step };
            values.insert(tap_path(name), recorded);
        }
        Ok(Recording { file, input, values })
    }

    /// Whether a file is a recording and not a checkpoint.
    pub fn is_in(checkpoint: &Checkpoint, graph: &Graph) -> bool {
        // Parameters have the names of their modules and one more, so no checkpoint has names of taps.
        let taps: HashSet<&str> = graph.taps().iter().map(|tap| tap.path.as_str()).collect();
        checkpoint.tensors().iter().any(|tensor| taps.contains(tap_path(tensor.name()).as_str()))
    }

    /// What `values` of a run of our own were, in f32.
    pub(super) fn of_run(file: &Path, input: Array, values: HashMap<String, Array>) -> Recording {
        let recorded = |(name, array): (String, Array)| (name.clone(), Recorded { name, array, step: 1 });
        Recording { file: file.to_owned(), input, values: values.into_iter().map(recorded).collect() }
    }

    /// The recorded input.
    pub fn input(&self) -> &Array {
        &self.input
    }

    /// What was recorded of the tap at `path`; of a module with a single value, that.
    pub(super) fn value(&self, path: &str) -> Option<&Recorded> {
        self.values.get(path).or_else(|| self.only_value(module_of(path)))
    }

    /// Whether the value for `path` may be of any call of its module: hooks that keep one value for each module keep
    /// the first or the last.
    pub(super) fn is_of_any_call(&self, graph: &Graph, path: &str) -> bool {
        let second = format!("{}#1", module_of(path));
        self.only_value(module_of(path)).is_some() && graph.taps().iter().any(|tap| tap.path == second)
    }

    /// The value of a module of which there is one, under a name that counts no calls.
    fn only_value(&self, module: &str) -> Option<&Recorded> {
        let value = self.values.get(module).filter(|value| value.name == module);
        value.filter(|_| !self.values.contains_key(&format!("{module}#1")))
    }

    /// The first module of `graph` some of whose recorded values are infinite or no numbers.
    pub fn not_finite<'g>(&self, graph: &'g Graph) -> Option<&'g str> {
        let is_odd = |value: &Recorded| value.array.data.iter().any(|number| !number.is_finite());
        let odd = graph.taps().iter().find(|tap| self.value(&tap.path).is_some_and(is_odd));
        odd.map(|tap| tap.path.as_str())
    }

    /// Names in the file of values that are neither those of `graph` nor decoded from its outputs.
    pub fn unknown(&self, graph: &Graph) -> Vec<String> {
        let taps: HashSet<&str> = graph.taps().iter().map(|tap| tap.path.as_str()).collect();
        let known = |path: &str| taps.contains(path) || DECODED.contains(&path);
        self.values.iter().filter(|(path, _)| !known(path)).map(|(_, value)| value.name.clone()).collect()
    }
}

/// The path of the module that a tap is a call of.
pub(super) fn module_of(path: &str) -> &str {
    path.split_once('#').map_or(path, |(module, _)| module)
}

/// `path@2` is the third call of a module, `path#2` among our taps.
fn tap_path(name: &str) -> String {
    match name.rsplit_once('@').and_then(|(path, call)| Some((path, call.parse::<usize>().ok()?))) {
        Some((path, 0)) => path.to_owned(),
        Some((path, call)) => format!("{path}#{call}"),
        None => name.to_owned(),
    }
}

/// The steps of samples, from a `report.json` in the same folder; none where there is no such report.
fn steps_beside(file: &Path) -> Result<HashMap<String, usize>, VerifyError> {
    let file = file.with_file_name("report.json");
    let fault = |what: String| VerifyError::Report { file: file.clone(), what };
    let report = match std::fs::read(&file) {
        Ok(report) => report,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(fault(error.to_string())),
    };
    let report: Json = serde_json::from_slice(&report).map_err(|error| fault(format!("no JSON: {error}")))?;
    let mut steps = HashMap::new();
    for (name, entry) in report.get("activations").and_then(Json::as_object).into_iter().flatten() {
        let Some(step) = entry.get("step").filter(|step| !step.is_null()) else { continue };
        let number = step.as_u64().and_then(|step| usize::try_from(step).ok()).filter(|step| *step > 0);
        let odd = || fault(format!("the step of `{name}` is {step} and not a number from 1"));
        steps.insert(name.clone(), number.ok_or_else(odd)?);
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report that cannot be read says nothing about samples, which would be compared as whole values.
    #[test]
    fn a_report_that_is_none_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let recording = folder.path().join("activations.safetensors");
        let steps = |report: &str| {
            std::fs::write(folder.path().join("report.json"), report).unwrap();
            steps_beside(&recording).map_err(|error| error.to_string())
        };
        assert!(steps_beside(&recording).unwrap().is_empty());
        let whole = r#"{"activations": {"stem": {"step": 4}, "neck": {"step": null}, "head": {}}}"#;
        assert_eq!(steps(whole).unwrap(), HashMap::from([("stem".to_owned(), 4)]));
        assert!(steps("[]").unwrap().is_empty());
        for cut in [&whole[..40], "", "step: 4"] {
            let error = steps(cut).unwrap_err();
            assert!(error.contains("report.json: no JSON: "), "{error}");
        }
        for odd in ["0", "-4", "2.5", "\"4\""] {
            let error = steps(&whole.replace("4", odd)).unwrap_err();
            assert!(error.contains("report.json: the step of `stem` is"), "{error}");
        }
    }

    #[test]
    fn calls_are_written_in_two_ways() {
        assert_eq!(tap_path("head.act@0"), "head.act");
        assert_eq!(tap_path("head.act@2"), "head.act#2");
        assert_eq!(tap_path("head.act#1"), "head.act#1");
        assert_eq!(tap_path("head@x"), "head@x");
    }
}
