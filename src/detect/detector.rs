//! A network with everything around it: a picture in, detections out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use image::RgbImage;
use rayon::prelude::*;

use super::preprocess::size_of;
use super::{Detection, Error, Placement, decode, detections, preprocess};
use engine::{Device, Engine, Precision, RuntimeError, engine};
use network::graph::rewrite::{Deployment, deploy};
use network::graph::{Graph, Weights};
use network::models::{DetectorFacts, Form, Model, Resize};

/// A detector that is ready to run, on one picture or on several at a time.
#[derive(Debug)]
pub struct Detector {
    facts: DetectorFacts,
    network: Box<dyn Engine>,
    timings: Timings,
}

/// Time spent in each phase, over all pictures so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timings {
    /// From picture to input.
    pub preprocessing: Duration,
    /// From input to output.
    pub network: Duration,
    /// From output to detections.
    pub postprocessing: Duration,
}

impl Detector {
    /// A detector of this network and these weights, in its deploy form.
    ///
    /// # Errors
    /// An input size that the network cannot take, weights that do not fit it.
    pub fn new(model: &Model, weights: &Weights, facts: DetectorFacts) -> Result<Detector, Error> {
        let (size, divisor) = (facts.preprocessing.size, model.size_divisor());
        let fits = |side: usize| side.is_multiple_of(divisor);
        if facts.preprocessing.resize == Resize::Stretch && !(fits(size.width) && fits(size.height)) {
            return Err(Error::InputSize { size, divisor });
        }
        // As large as a picture in the limit's own proportions needs it.
        let shape = Placement::new(&facts.preprocessing, size).input.batch(1);
        let (graph, deployment) = deployed(model, shape)?;
        if graph.output(OUTPUT).is_none() {
            let outputs = graph.outputs().iter().map(|(name, _)| name.clone()).collect();
            return Err(RuntimeError::NoOutput { name: OUTPUT.to_owned(), outputs }.into());
        }
        let weights = deployment.apply(weights).map_err(RuntimeError::from)?;
        let model = model.clone();
        let writer = Box::new(move |shape| Ok(deployed(&model, shape)?.0));
        let network = engine((Device::Cpu, Precision::F32), writer, shape, weights, None)?;
        Ok(Detector { facts, network, timings: Timings::default() })
    }

    /// The detections in a picture, the best first, in its pixels.
    ///
    /// # Errors
    /// The network fails to run, or its weights are such that the output is not finite.
    pub fn detect(&mut self, picture: &RgbImage) -> Result<Vec<Detection>, Error> {
        Ok(self.detect_batch(std::slice::from_ref(picture))?.pop().unwrap_or_default())
    }

    /// The detections in each of several pictures. Those whose inputs have the same size go through the network
    /// together; detections are the same, to the bit, as when each goes alone.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    pub fn detect_batch(&mut self, pictures: &[RgbImage]) -> Result<Vec<Vec<Detection>>, Error> {
        let placement = |picture| Placement::new(&self.facts.preprocessing, size_of(picture));
        let mut groups: BTreeMap<[usize; 4], Vec<(usize, Placement)>> = BTreeMap::new();
        for (index, placement) in pictures.iter().map(placement).enumerate() {
            groups.entry(placement.input.batch(1)).or_default().push((index, placement));
        }
        let mut found = vec![Vec::new(); pictures.len()];
        for group in groups.into_values() {
            let detections = self.detect_group(pictures, &group)?;
            for ((index, _), detections) in group.iter().zip(detections) {
                if let Some(slot) = found.get_mut(*index) {
                    *slot = detections;
                }
            }
        }
        Ok(found)
    }

    /// The detections in pictures, named by their index, whose inputs are of one size.
    fn detect_group(
        &mut self,
        pictures: &[RgbImage],
        group: &[(usize, Placement)],
    ) -> Result<Vec<Vec<Detection>>, Error> {
        let Some(input) = group.first().map(|(_, placement)| placement.input) else { return Ok(Vec::new()) };
        let mut watch = Instant::now();
        let facts = &self.facts;
        let chosen = group.par_iter().filter_map(|(index, _)| pictures.get(*index));
        let inputs: Vec<Vec<f32>> = chosen.map(|picture| preprocess(picture, &facts.preprocessing)).collect();
        self.timings.preprocessing += lap(&mut watch);
        let output = self.run(input.batch(group.len()), &inputs.concat())?;
        if output.iter().any(|value| !value.is_finite()) {
            return Err(Error::NotFinite);
        }
        self.timings.network += lap(&mut watch);
        let values = (output.len() / group.len()).max(1);
        let facts = &self.facts;
        let each = output.par_chunks(values).zip(group).map(|(output, (_, placement))| {
            let decoded = decode(output, &facts.head, input, placement.scaled)?;
            Ok(detections(decoded, placement, &facts.selection))
        });
        let detections = each.collect();
        self.timings.postprocessing += lap(&mut watch);
        detections
    }

    fn run(&mut self, shape: [usize; 4], input: &[f32]) -> Result<Vec<f32>, RuntimeError> {
        self.network.forward(shape, input)?;
        let mut output = Vec::new();
        self.network.output(OUTPUT, &mut output)?;
        Ok(output)
    }

    /// What belongs to the detector beside its network.
    pub fn facts(&self) -> &DetectorFacts {
        &self.facts
    }

    /// Time spent so far.
    pub fn timings(&self) -> Timings {
        self.timings
    }
}

/// The network as it detects, for inputs of this shape.
fn deployed(model: &Model, shape: [usize; 4]) -> Result<(Graph, Deployment), RuntimeError> {
    Ok(deploy(&model.graph(Form::Inference, shape)?))
}

/// The name of the network's output that [`decode()`] reads.
const OUTPUT: &str = "preds";

/// Time since `watch` was started, which starts again.
fn lap(watch: &mut Instant) -> Duration {
    let elapsed = watch.elapsed();
    *watch += elapsed;
    elapsed
}
