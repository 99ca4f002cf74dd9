//! A network with everything around it: a picture in, detections out.

use std::time::{Duration, Instant};

use candle_core::DType;
use image::RgbImage;

use super::preprocess::size_of;
use super::{Detection, Error, Placement, decode, detections, preprocess};
use crate::graph::passes::{Folding, fold_batch_norms};
use crate::graph::{Graph, Weights};
use crate::models::{DetectorFacts, Form, Model, Resize, Size};
use crate::runtime::{Executor, NormStatistics, Parameters, RuntimeError, image_tensor};

/// A detector that is ready to run, one picture at a time.
#[derive(Debug)]
pub struct Detector {
    model: Model,
    facts: DetectorFacts,
    /// The network for the size of input that it was last needed for.
    graph: Graph,
    /// They do not depend on the size.
    parameters: Parameters,
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
    /// A detector of this network and these weights; batch norms are folded into convolutions.
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
        let (graph, folding) = folded(model, Placement::new(&facts.preprocessing, size).input)?;
        let weights = folding.fold(weights).map_err(RuntimeError::from)?;
        let parameters = Parameters::frozen(&graph, &weights, DType::F32)?;
        Ok(Detector { model: model.clone(), facts, graph, parameters, timings: Timings::default() })
    }

    /// The detections in a picture, the best first, in its pixels.
    ///
    /// # Errors
    /// The network fails to run, or its weights are such that the output is not finite.
    pub fn detect(&mut self, picture: &RgbImage) -> Result<Vec<Detection>, Error> {
        let mut watch = Instant::now();
        let placement = Placement::new(&self.facts.preprocessing, size_of(picture));
        let input = preprocess(picture, &self.facts.preprocessing);
        self.timings.preprocessing += lap(&mut watch);
        let output = self.run(input, placement.input)?;
        if output.iter().any(|value| !value.is_finite()) {
            return Err(Error::NotFinite);
        }
        self.timings.network += lap(&mut watch);
        let decoded = decode(&output, &self.facts.head, placement.input, placement.scaled)?;
        let detections = detections(decoded, &placement, &self.facts.selection);
        self.timings.postprocessing += lap(&mut watch);
        Ok(detections)
    }

    fn run(&mut self, input: Vec<f32>, size: Size) -> Result<Vec<f32>, RuntimeError> {
        let input = image_tensor(input, [size.height, size.width])?;
        let written = self.graph.inputs().first().and_then(|input| self.graph.node(*input));
        if written.is_none_or(|node| node.shape != input.dims()) {
            self.graph = folded(&self.model, size)?.0;
        }
        let executor = Executor::new(&self.graph, &self.parameters, NormStatistics::Running);
        let outputs = executor.run(&input)?;
        let preds = outputs.get(OUTPUT).map(|preds| preds.flatten_all()?.to_vec1());
        Ok(preds.transpose()?.unwrap_or_default())
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

/// The network for one picture of this size of input, batch norms folded.
fn folded(model: &Model, size: Size) -> Result<(Graph, Folding), RuntimeError> {
    Ok(fold_batch_norms(&model.graph(Form::Inference, size.batch(1))?))
}

/// The name of the network's output that [`decode`] reads.
const OUTPUT: &str = "preds";

/// Time since `watch` was started, which starts again.
fn lap(watch: &mut Instant) -> Duration {
    let elapsed = watch.elapsed();
    *watch += elapsed;
    elapsed
}
