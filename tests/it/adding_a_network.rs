//! `docs/adding-a-network.md`, followed: the toy is added as it says, and everything that is promised follows.

use crate::support::repository;
use crate::toy::{self, Toy};
use converters::{Dtype, Tensor};
use image::{Rgb, RgbImage};
use network::models::{Form, Model, Size};
use port::detect::Detector;
use port::identify::{Catalogue, IdentifyError, Request, array, expected_parameters, figures};
use port::mapping::Table;

fn table() -> Table {
    Table::parse(include_str!("../toy/upstream.toml"), "mappings/toy/upstream.toml").unwrap()
}

/// A checkpoint of the toy, without numbers that mean anything.
fn checkpoint(model: &Model) -> Vec<Tensor> {
    let expected = expected_parameters(model).unwrap();
    let tensors = expected.iter().map(|parameter| {
        let values: Vec<f64> = match parameter.dtype {
            Dtype::I64 => vec![0.0; parameter.shape.iter().product()],
            _ => (0..parameter.shape.iter().product()).map(|at: usize| (at % 7) as f64 / 8.0).collect(),
        };
        Tensor::from_values(&parameter.name, parameter.dtype, &parameter.shape, &values).unwrap()
    });
    tensors.collect()
}

#[test]
fn its_checkpoints_are_recognised() {
    let tables = [table()];
    let catalogue = Catalogue { families: &[&toy::FAMILY], tables: &tables };
    for (channels, classes, name) in [(16, 3, "toy-16"), (24, 7, "toy-24")] {
        let model = Model::from(Toy { channels, classes });
        let tensors = checkpoint(&model);
        let found = catalogue.identify(&tensors, Request::default()).unwrap();
        assert_eq!(found.model, model);
        assert_eq!((found.model.name().as_str(), found.mapping.moves.len()), (name, 8));

        // And its names can be given back.
        let mapped = found.mapping.tensors().unwrap();
        let names = |tensors: &[Tensor]| tensors.iter().map(|one| one.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&found.table.invert(&mapped, &figures(&model)).unwrap().tensors), names(&tensors));
    }
}

#[test]
fn what_is_wrong_with_a_checkpoint_is_named() {
    let tables = [table()];
    let catalogue = Catalogue { families: &[&toy::FAMILY], tables: &tables };
    let mut tensors = checkpoint(&Toy { channels: 16, classes: 3 }.into());
    tensors.retain(|tensor| tensor.name() != "stem.bn.bias");
    let error = catalogue.identify(&tensors, Request::default()).unwrap_err();
    assert!(matches!(error, IdentifyError::Mapping { .. }), "{error:?}");
    assert!(error.to_string().contains("stem.bn.bias"), "{error}");
}

#[test]
fn it_detects() {
    let model = Model::from(Toy { channels: 16, classes: 3 });
    let mut weights = network::graph::Weights::default();
    for tensor in checkpoint(&model).iter().filter(|tensor| tensor.dtype() == Dtype::F32) {
        weights.insert(tensor.name(), array(tensor).unwrap());
    }
    let size = Size::square(64);
    let mut detector = Detector::new(&model, &weights, model.facts(size)).unwrap();
    let found = detector.detect(&RgbImage::from_pixel(50, 40, Rgb([200, 30, 90]))).unwrap();
    assert!(!found.is_empty());
    let graph = model.graph(Form::Inference, size.batch(2)).unwrap();
    assert_eq!(
        graph.output("preds").map(|value| graph.node(value).unwrap().shape.clone()),
        Some(vec![2, 64, 19])
    );
}

/// The document shows what stands in the files.
#[test]
fn the_document_shows_the_files() {
    let root = repository();
    let read = |file: &str| std::fs::read_to_string(root.join(file)).unwrap();
    let document = read("docs/adding-a-network.md");
    let mut shown = 0;
    for (language, file) in [("rust", "tests/toy/toy.rs"), ("toml", "tests/toy/upstream.toml")] {
        let file = read(file);
        for block in document.split(&format!("```{language}\n")).skip(1) {
            let block = block.split("```").next().unwrap();
            assert!(file.contains(block), "not in the file:\n{block}");
            shown += 1;
        }
    }
    assert_eq!(shown, 4);
}
