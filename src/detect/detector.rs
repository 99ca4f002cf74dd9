//! A network with everything around it: a picture in, detections out.

use std::time::{Duration, Instant};

use candle_core::DType;
use image::RgbImage;

use super::preprocess::size_of;
use super::{Detection, Error, Warp, decode, preprocess, select};
use crate::graph::passes::fold_batch_norms;
use crate::graph::{Graph, Weights};
use crate::models::{DetectorFacts, Form, Model};
use crate::runtime::{Executor, NormStatistics, Parameters, RuntimeError, image_tensor};

/// A detector that is ready to run, one picture at a time.
#[derive(Debug)]
pub struct Detector {
    facts: DetectorFacts,
    graph: Graph,
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
        if !size.width.is_multiple_of(divisor) || !size.height.is_multiple_of(divisor) {
            return Err(Error::InputSize { size, divisor });
        }
        let graph =
            model.graph(Form::Inference, [1, 3, size.height, size.width]).map_err(RuntimeError::from)?;
        let (graph, folding) = fold_batch_norms(&graph);
        let weights = folding.fold(weights).map_err(RuntimeError::from)?;
        let parameters = Parameters::frozen(&graph, &weights, DType::F32)?;
        Ok(Detector { facts, graph, parameters, timings: Timings::default() })
    }

    /// The detections in a picture, the best first, in its pixels.
    ///
    /// # Errors
    /// The network fails to run, or its weights are such that the output is not finite.
    pub fn detect(&mut self, picture: &RgbImage) -> Result<Vec<Detection>, Error> {
        let mut watch = Instant::now();
        let input = preprocess(picture, &self.facts.preprocessing);
        self.timings.preprocessing += lap(&mut watch);
        let output = self.run(input)?;
        if output.iter().any(|value| !value.is_finite()) {
            return Err(Error::NotFinite);
        }
        self.timings.network += lap(&mut watch);
        let detections = self.detections(&output, picture)?;
        self.timings.postprocessing += lap(&mut watch);
        Ok(detections)
    }

    fn run(&self, input: Vec<f32>) -> Result<Vec<f32>, RuntimeError> {
        let size = self.facts.preprocessing.size;
        let input = image_tensor(input, [size.height, size.width])?;
        let executor = Executor::new(&self.graph, &self.parameters, NormStatistics::Running);
        let outputs = executor.run(&input)?;
        let preds = outputs.get(OUTPUT).map(|preds| preds.flatten_all()?.to_vec1());
        Ok(preds.transpose()?.unwrap_or_default())
    }

    fn detections(&self, output: &[f32], picture: &RgbImage) -> Result<Vec<Detection>, Error> {
        let DetectorFacts { preprocessing, head, selection } = &self.facts;
        let decoded = decode(output, head, preprocessing.size)?;
        let size = size_of(picture);
        let warp = Warp::new(preprocessing.resize, size, preprocessing.size);
        let mut detections = select(&decoded, selection);
        for detection in &mut detections {
            detection.corners = warp.back(detection.corners, size);
        }
        Ok(detections)
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

/// The name of the network's output that [`decode`] reads.
const OUTPUT: &str = "preds";

/// Time since `watch` was started, which starts again.
fn lap(watch: &mut Instant) -> Duration {
    let elapsed = watch.elapsed();
    *watch += elapsed;
    elapsed
}
