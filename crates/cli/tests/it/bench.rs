//! `port bench`.

use crate::{Ran, Sandbox};

const SMALL: [&str; 5] = ["--image-size", "64x96", "--rounds", "3", "--json"];

#[test]
fn a_checkpoint_and_a_network_by_name_are_timed() {
    let sandbox = Sandbox::new();
    sandbox.copy("samples/nanodet-plus-shapes.pth");
    for subject in ["nanodet-plus-shapes.pth", "nanodet-plus-m"] {
        let arguments =
            [&["bench", subject, "--batch", "2", "--threads", "2", "--profile"][..], &SMALL].concat();
        let found = sandbox.port(&arguments).json();
        assert_eq!(found["input"], serde_json::json!([2, 3, 96, 64]), "{subject}");
        assert_eq!((found["threads"].as_u64(), found["rounds"].as_u64()), (Some(2), Some(3)));
        let [p10, median, p90] =
            ["p10", "median", "p90"].map(|part| found["seconds"][part].as_f64().unwrap());
        assert!(0.0 < p10 && p10 <= median && median <= p90);
        assert!(found["profile"]["operators"].as_array().unwrap().len() > 2);
        assert!(found["weight_bytes"].as_u64() < found["peak_memory"].as_u64());
    }
}

#[test]
fn results_are_compared() {
    let sandbox = Sandbox::new();
    for (file, size) in [("a.json", "32"), ("b.json", "64")] {
        let arguments = ["bench", "nanodet-plus-m", "--image-size", size, "--rounds", "3", "--json"];
        sandbox.file(file, sandbox.port(&arguments).stdout);
    }
    let found = sandbox.port(&["bench", "--compare", "a.json", "b.json", "--json"]).json();
    let median = |of: &str| found[of]["seconds"]["median"].as_f64().unwrap();
    assert_eq!(found["time_ratio"].as_f64(), Some(median("b") / median("a")));
    let Ran { stdout, .. } = sandbox.port(&["bench", "--compare", "a.json", "b.json"]);
    assert!(stdout.contains("A  a.json: nanodet-plus-m, 1x3x32x32") && stdout.contains("B / A"), "{stdout}");

    sandbox.file("no.json", "{}");
    let Ran { code, stderr, .. } = sandbox.port(&["bench", "--compare", "a.json", "no.json"]);
    assert_eq!(code, 3);
    assert!(stderr.contains("no.json") && stderr.contains("port bench --json"), "{stderr}");
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let sandbox = Sandbox::new();
    for (arguments, expected) in [
        (&["bench"][..], "WEIGHTS|MODEL"),
        (&["bench", "nanodet"], "neither a file nor a network; port models lists networks"),
        (&["bench", "nanodet-plus-m", "--image-size", "100"], "multiples of 32"),
        (&["bench", "nanodet-plus-m", "--batch", "0"], "--batch"),
        (&["bench", "nanodet-plus-m", "--until", "nack"], "nack: the network has no module of this name"),
    ] {
        let Ran { code, stderr, .. } = sandbox.port(arguments);
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }
}
