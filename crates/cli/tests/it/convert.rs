//! `port convert`.

use crate::{Sandbox, repository};

#[test]
fn every_target_is_written_beside_the_input() {
    let sandbox = Sandbox::new();
    sandbox.copy("samples/nanodet-plus-shapes.pth");
    let hashes = |file: &str| {
        let json = sandbox.port(&["inspect", file, "--json", "--hash"]).json();
        let tensors = json["tensors"].as_array().unwrap().clone();
        let mut hashes: Vec<_> = tensors.iter().map(|tensor| tensor["sha256"].to_string()).collect();
        hashes.sort();
        hashes
    };
    let original = hashes("nanodet-plus-shapes.pth");
    for format in ["safetensors", "pkl", "npz"] {
        let ran = sandbox.port(&["convert", "nanodet-plus-shapes.pth", "--to", format, "--json"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let json = ran.json();
        let output = format!("nanodet-plus-shapes.{format}");
        assert_eq!(json["input"], "nanodet-plus-shapes.pth");
        assert_eq!(json["output"], output.as_str());
        assert_eq!(json["format"], format);
        assert_eq!(json["tensors"], 875);
        assert_eq!(json["bytes"], sandbox.path(&output).metadata().unwrap().len());
        assert_eq!(json["dropped"], serde_json::json!([]));
        assert_eq!(hashes(&output), original, "{format}");
    }
}

#[test]
fn the_root_is_taken_alone_and_the_rest_is_named() {
    let sandbox = Sandbox::new();
    sandbox.copy("tests/data/formats/pytorch/zip_checkpoint_nested.pth");
    let input = "zip_checkpoint_nested.pth";
    let ran =
        sandbox.port(&["convert", input, "--to", "npz", "--root", "model", "-o", "model.npz", "--json"]);
    assert_eq!(ran.json()["tensors"], 8);
    let dropped = ran.json()["dropped"].as_array().unwrap().clone();
    for name in ["epoch", "optimizer"] {
        let is_named =
            dropped.iter().any(|note| note["name"] == name && note["reason"] == "beside the root `model`");
        assert!(is_named, "{name} in {dropped:?}");
    }
    let wrong = sandbox.port(&["convert", input, "--to", "npz", "--root", "teacher", "-o", "x.npz"]);
    assert_eq!(wrong.code, 3);
    assert!(
        wrong.stderr.contains("nothing at `teacher`") && wrong.stderr.contains("`model`"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn casting_names_what_it_loses() {
    let sandbox = Sandbox::new();
    sandbox.copy("tests/data/formats/pytorch/zip_state_dict.pth");
    let arguments = ["convert", "zip_state_dict.pth", "--to", "safetensors", "--dtype", "bf16"];
    let ran = sandbox.port(&arguments);
    assert!(ran.stdout.contains("lost precision") && ran.stdout.contains("conv.weight"), "{}", ran.stdout);
    let json = sandbox.port(&["inspect", "zip_state_dict.safetensors", "--json"]).json();
    assert_eq!(json["tensors"][0]["dtype"], "bf16");
}

#[test]
fn renaming_fits_names_to_patterns() {
    let sandbox = Sandbox::new();
    sandbox.copy("tests/data/formats/pytorch/zip_state_dict.pth");
    let convert = |rule: &str| {
        sandbox.port(&["convert", "zip_state_dict.pth", "--to", "safetensors", "--rename", rule])
    };
    assert_eq!(convert("bn.{rest..} => norm.{rest..}").code, 0);
    let json = sandbox.port(&["inspect", "zip_state_dict.safetensors", "--json"]).json();
    assert!(json["tensors"].as_array().unwrap().iter().any(|tensor| tensor["name"] == "norm.running_var"));
    assert_eq!(convert("nothing => something").code, 2);
    assert_eq!(convert("bn.{a} => {b}").code, 2);
    let clash = convert("bn.bias => fc.bias");
    assert_eq!(clash.code, 3);
    assert!(clash.stderr.contains("`fc.bias`"), "{}", clash.stderr);
}

#[test]
fn an_input_is_never_its_own_output() {
    let sandbox = Sandbox::new();
    sandbox.copy("tests/data/formats/pytorch/zip_state_dict.pth");
    let before = std::fs::read(sandbox.path("zip_state_dict.pth")).unwrap();
    let ran = sandbox.port(&["convert", "zip_state_dict.pth", "--to", "pth"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("name another output with -o"), "{}", ran.stderr);
    assert_eq!(std::fs::read(sandbox.path("zip_state_dict.pth")).unwrap(), before);
}

/// A failure leaves an existing output as it was, and no temporary file.
#[test]
fn an_existing_output_survives_a_damaged_input() {
    let sandbox = Sandbox::new();
    sandbox.copy("tests/data/formats/hostile/zip_crc_storage.pth").file("out.safetensors", "precious");
    let ran =
        sandbox.port(&["convert", "zip_crc_storage.pth", "--to", "safetensors", "-o", "out.safetensors"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("CRC-32 checksum mismatch"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(sandbox.path("out.safetensors")).unwrap(), "precious");
    assert_eq!(std::fs::read_dir(sandbox.folder.path()).unwrap().count(), 2);
}

#[test]
fn an_unwritable_output_is_an_input_output_error() {
    let sandbox = Sandbox::new();
    sandbox.copy("tests/data/formats/pytorch/zip_state_dict.pth");
    let ran = sandbox.port(&[
        "convert",
        "zip_state_dict.pth",
        "--to",
        "npz",
        "-o",
        "no/such/folder/x.npz",
        "--json",
    ]);
    assert_eq!((ran.code, ran.json()["error"]["class"].as_str()), (3, Some("io")));
}

/// The shards of an index are inputs like the index itself.
#[test]
fn a_shard_is_never_the_output() {
    let sandbox = Sandbox::new();
    let folder = "tests/data/formats/safetensors/sharded";
    for entry in std::fs::read_dir(repository(folder)).unwrap() {
        sandbox.copy(&format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()));
    }
    let shard = "model-00001-of-00002.safetensors";
    let ran = sandbox.port(&["convert", "model.safetensors.index.json", "--to", "safetensors", "-o", shard]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let ran = sandbox.port(&["convert", "model.safetensors.index.json", "--to", "safetensors"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(sandbox.path("model.safetensors").exists());
}

/// A new name may be free among the tensors and yet be taken.
#[test]
fn renaming_never_hides_another_entry() {
    let sandbox = Sandbox::new();
    sandbox.copy("tests/data/formats/pytorch/zip_checkpoint_nested.pth");
    let input = "zip_checkpoint_nested.pth";
    let json = sandbox.port(&["inspect", input, "--json"]).json();
    let tensors = json["tensors"].as_array().unwrap();
    let top = tensors.iter().find(|tensor| !tensor["name"].as_str().unwrap().contains('.'));
    let name = top.expect("a tensor at the top").get("name").unwrap().as_str().unwrap();
    let rule = format!("{name} => epoch");
    let ran = sandbox.port(&["convert", input, "--to", "pth", "-o", "x.pth", "--rename", &rule]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(ran.stderr.contains("already has an entry of that name"), "{}", ran.stderr);
    assert!(!sandbox.path("x.pth").exists());
}

#[test]
fn wrong_arguments_are_a_document_too() {
    let ran = Sandbox::new().port(&["convert", "x.pth", "--to", "nothing", "--json"]);
    assert_eq!((ran.code, ran.json()["error"]["class"].as_str()), (2, Some("usage")));
}
