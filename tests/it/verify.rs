//! The comparison of a network with recordings of its original, right ones and wrong ones.

use crate::support::{reference, synthetic_weights, write_safetensors};
use engine::{Executor, Handle, NormStatistics, Parameters};
use network::graph::{Array, Weights};
use network::models::{Form, Model, preset};
use port::verify::{Cause, Layer, Network, Recording, Verdict, compare_layers, compare_weights, diagnose};

fn weights(model: &Model) -> Weights {
    synthetic_weights(&model.graph(Form::Training, [1, 3, 64, 64]).unwrap())
}

fn network(model: &Model, weights: &Weights, input: &Array) -> Network {
    Network::new(model, weights, <[usize; 4]>::try_from(input.shape.clone()).unwrap()).unwrap()
}

fn first_diverging(layers: &[Layer]) -> &Layer {
    layers.iter().find(|layer| layer.verdict == Verdict::Diverges).unwrap()
}

/// The recordings of both variants, with nothing said about tolerances.
#[test]
fn the_originals_recordings_are_met() {
    let Some(folder) = reference("nanodet-plus") else { return };
    for name in ["nanodet-plus-m", "nanodet-plus-m-1.5x"] {
        let checkpoint = converters::open(folder.join(name).join("activations.safetensors")).unwrap();
        let recording = Recording::read(&checkpoint, None).unwrap();
        let model = &preset(name).unwrap().model();
        let network = network(model, &weights(model), recording.input());
        let layers = compare_layers(&network, &recording).unwrap();
        assert_eq!(layers.len(), checkpoint.tensors().len() - 1, "everything but the input is compared");
        let ratio = |layer: &Layer| {
            let local = layer.local.map_or(0.0, |local| layer.local_tolerance.share(&local));
            f64::max(local, layer.tolerance.share(&layer.total))
        };
        let worst = layers.iter().max_by(|a, b| ratio(a).total_cmp(&ratio(b))).unwrap();
        println!("{name}: {} reaches {} of its tolerance", worst.path, ratio(worst));
        assert!(layers.iter().all(|layer| layer.verdict == Verdict::Equal), "{name}");
        // With synthetic weights scores saturate, so what is decoded is compared from the recorded raw output.
        for layer in layers.iter().filter(|layer| layer.path.starts_with("output.")) {
            assert!(layer.local.unwrap().relative < 1e-5, "{name}: {}", layer.path);
        }
    }
}

/// A recording by hooks that keep one value for each module, also of modules that are called several times, and what
/// YOLOs return beside it.
#[test]
fn recordings_of_last_calls_are_met() {
    let Some(folder) = reference("gold-yolo") else { return };
    let checkpoint = converters::open(folder.join("n/activations.safetensors")).unwrap();
    let recording = Recording::read(&checkpoint, None).unwrap();
    let model = preset("gold-yolo-n").unwrap().model();
    let network = network(&model, &weights(&model), recording.input());
    // Within our hard sigmoid, and the same again with constants that this network does not use.
    let unknown = ["neck.Inject_n5.act.relu", "neck.Inject_p4.act.relu", "output.decoded_linspace_proj"];
    let graph = model.graph(Form::Training, [1, 3, 64, 64]).unwrap();
    assert_eq!(recording.unknown(&graph), unknown);
    let layers = compare_layers(&network, &recording).unwrap();
    assert_eq!(layers.len(), checkpoint.tensors().len() - 1 - unknown.len());
    for layer in &layers {
        assert_eq!(layer.verdict, Verdict::Equal, "{}: {:?}", layer.path, layer.total);
    }
    assert!(layers.iter().any(|layer| layer.path == "neck.high_IFM.transformer_blocks.0.mlp.drop#1"));
}

/// The smallest of the networks, to be quick.
fn model() -> Model {
    preset("nanodet-plus-m").unwrap().model().with_classes(3).without_auxiliary()
}

fn picture(shape: [usize; 4]) -> Array {
    let data = (0..shape.iter().product::<usize>()).map(|i| ((i * i + 3 * i) % 1009) as f32 / 505.0 - 1.0);
    Array { shape: shape.to_vec(), data: data.collect() }
}

/// What a network with `weights` makes of `fed`, recorded as if `input` had been fed.
fn record(weights: &Weights, fed: &Array, input: &Array, statistics: NormStatistics) -> Recording {
    let graph = model().graph(Form::Training, <[usize; 4]>::try_from(fed.shape.clone()).unwrap()).unwrap();
    let parameters = Parameters::frozen(&graph, weights).unwrap();
    let mut arrays = vec![("input".to_owned(), input.clone())];
    let executor = Executor::new(&graph, &parameters, statistics);
    let observer = |value, handle: &Handle| {
        for tap in graph.taps().iter().filter(|tap| tap.value == value && tap.path != "input") {
            arrays.push((tap.path.clone(), handle.array()?));
        }
        Ok(())
    };
    executor.observe(fed, observer).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recording.safetensors");
    write_safetensors(&file, &arrays);
    Recording::read(&converters::open(&file).unwrap(), None).unwrap()
}

/// The first layer that diverges, and why.
fn verdict(recording: &Recording) -> (Layer, Option<Cause>) {
    let network = network(&model(), &weights(&model()), recording.input());
    let layers = compare_layers(&network, recording).unwrap();
    let layer = first_diverging(&layers).clone();
    let cause = diagnose(&network, recording, &layer, &[]);
    (layer, cause)
}

#[test]
fn a_kernel_changed_by_a_thousandth_is_the_first_diverging_layer() {
    let picture = picture([1, 3, 64, 96]);
    let kernels = [
        "backbone.conv1.0",
        "backbone.stage2.0.branch1.0",
        "backbone.stage3.4.branch2.5",
        "fpn.top_down_blocks.0.blocks.0.ghost1.cheap_operation.0",
        "head.cls_convs.3.1.pointwise",
        "head.gfl_cls.2",
    ];
    for kernel in kernels {
        let name = format!("{kernel}.weight");
        let mut changed = weights(&model());
        let array = changed.get_mut(&name).unwrap();
        let row = array.data.len() / array.shape[0];
        array.data[row + row / 2] += 1e-3;
        let (layer, cause) = verdict(&record(&changed, &picture, &picture, NormStatistics::Running));
        assert_eq!(layer.path, kernel);
        let Some(Cause::SomeChannels { first: 1, differing: 1, parameters, .. }) = cause else {
            panic!("{kernel}: {cause:?}")
        };
        assert!(parameters.contains(&name), "{parameters:?}");
        let graph = model().graph(Form::Training, [1, 3, 64, 96]).unwrap();
        let differences = compare_weights(&graph, &weights(&model()), &changed).unwrap();
        assert_eq!(
            (differences.len(), differences[0].name.as_str(), differences[0].elements),
            (1, name.as_str(), 1)
        );
    }
}

#[test]
fn other_channel_order_and_swapped_sides_are_named() {
    let weights = weights(&model());
    let picture = picture([1, 3, 64, 64]);
    let plane = 64 * 64;
    let reversed = picture.data.chunks(plane).rev().flatten().copied().collect();
    let reversed = Array { data: reversed, ..picture.clone() };
    let (layer, cause) = verdict(&record(&weights, &reversed, &picture, NormStatistics::Running));
    assert_eq!((layer.path.as_str(), cause), ("backbone.conv1.0", Some(Cause::Channels)));

    let swapped = (0..3 * plane).map(|i| picture.data[i / plane * plane + i % 64 * 64 + i % plane / 64]);
    let swapped = Array { data: swapped.collect(), ..picture.clone() };
    let (layer, cause) = verdict(&record(&weights, &swapped, &picture, NormStatistics::Running));
    assert_eq!((layer.path.as_str(), cause), ("backbone.conv1.0", Some(Cause::Sides)));
}

#[test]
fn a_wrong_epsilon_and_training_mode_are_named() {
    let picture = picture([1, 3, 64, 96]);
    // An epsilon of 1e-3 in place of 1e-5 does what a variance larger by the difference does.
    let mut other = weights(&model());
    let variance = other.get_mut("fpn.reduce_layers.1.bn.running_var").unwrap();
    variance.data.iter_mut().for_each(|variance| *variance += 1e-3 - 1e-5);
    let (layer, cause) = verdict(&record(&other, &picture, &picture, NormStatistics::Running));
    assert_eq!(layer.path, "fpn.reduce_layers.1.bn");
    let theirs = "batch norm with epsilon 1e-3".to_owned();
    let ours = "batch norm with epsilon 1e-5".to_owned();
    assert_eq!(cause, Some(Cause::Operator { ours, theirs }));

    // The same in every batch norm: the first one is named.
    let mut other = weights(&model());
    let graph = model().graph(Form::Training, [1, 3, 64, 96]).unwrap();
    for parameter in graph.parameters().iter().filter(|p| p.name.ends_with("running_var")) {
        let variance = other.get_mut(&parameter.name).unwrap();
        variance.data.iter_mut().for_each(|variance| *variance += 1e-3 - 1e-5);
    }
    let (layer, cause) = verdict(&record(&other, &picture, &picture, NormStatistics::Running));
    assert_eq!(layer.path, "backbone.conv1.1");
    assert!(matches!(cause, Some(Cause::Operator { .. })), "{cause:?}");

    let (layer, cause) = verdict(&record(&weights(&model()), &picture, &picture, NormStatistics::Batch));
    assert_eq!((layer.path.as_str(), cause), ("backbone.conv1.1", Some(Cause::BatchStatistics)));
}

/// `[N, C, W, H]` in place of `[N, C, H, W]`, in the whole recording.
#[test]
fn a_swapped_recording_is_named() {
    let weights = weights(&model());
    for shape in [[1, 3, 64, 96], [1, 3, 64, 64]] {
        let picture = picture(shape);
        let network = network(&model(), &weights, &picture);
        let swap = |array: &Array| {
            let [n, c, height, width] = array.shape[..] else { return array.clone() };
            let at =
                |i: usize| i / (height * width) * height * width + i % height * width + i / height % width;
            let data = (0..array.data.len()).map(|i| array.data[at(i)]).collect();
            Array { shape: vec![n, c, width, height], data }
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("recording.safetensors");
        let value = stem(&network, &picture);
        let arrays = [("input".to_owned(), swap(&picture)), ("backbone.conv1.0".to_owned(), swap(&value))];
        write_safetensors(&file, &arrays);
        let recording = Recording::read(&converters::open(&file).unwrap(), None).unwrap();
        assert_eq!(verdict(&recording).1, Some(Cause::SwappedRecording));
    }
}

/// What the first convolution makes of a picture.
fn stem(network: &Network, picture: &Array) -> Array {
    let parameters = Parameters::frozen(network.graph(), &weights(&model())).unwrap();
    let executor = Executor::new(network.graph(), &parameters, NormStatistics::Running);
    let tap = network.graph().taps().iter().find(|tap| tap.path == "backbone.conv1.0").unwrap().value;
    let mut stem = None;
    let keep = |value, handle: &Handle| {
        if value == tap {
            stem = Some(handle.array()?);
        }
        Ok(())
    };
    executor.observe(picture, keep).unwrap();
    stem.unwrap()
}
