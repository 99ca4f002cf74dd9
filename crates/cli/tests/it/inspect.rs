//! `port inspect`.

use crate::Sandbox;

#[test]
fn a_checkpoint_is_shown_with_totals_tensors_metadata_and_names() {
    let ran = Sandbox::new()
        .copy("tests/data/formats/pytorch/zip_yolo_checkpoint.pt")
        .port(&["inspect", "zip_yolo_checkpoint.pt"]);
    assert_eq!(ran.code, 0);
    for part in [
        "zip_yolo_checkpoint.pt: PyTorch checkpoint (torch-zip)",
        "46 tensors",
        "model.stem.conv.weight",
        "[4, 3, 3, 3]",
        "  epoch",
        "vanished_det.models.tiny.TinyDet",
    ] {
        assert!(ran.stdout.contains(part), "{part} in\n{}", ran.stdout);
    }
}

#[test]
fn json_is_one_document_with_the_stated_keys() {
    let sandbox = Sandbox::new();
    sandbox.copy("tests/data/formats/pytorch/zip_checkpoint_nested.pth");
    let ran = sandbox.port(&["inspect", "zip_checkpoint_nested.pth", "--json", "--hash", "--stats"]);
    let json = ran.json();
    assert_eq!(json["format"], "torch-zip");
    assert_eq!(json["metadata"]["epoch"], 12);
    assert_eq!(json["metadata"]["args"]["class"], "argparse.Namespace");
    assert!(json["globals"].as_array().unwrap().iter().any(|name| *name == "collections.OrderedDict"));
    let tensor = &json["tensors"][0];
    assert_eq!(tensor["name"], "model.conv.weight");
    assert_eq!(tensor["dtype"], "f32");
    assert_eq!(tensor["shape"], serde_json::json!([4, 3, 3, 3]));
    assert_eq!(tensor["bytes"], 432);
    assert_eq!(tensor["sha256"].as_str().unwrap().len(), 64);
    assert!(tensor["stats"]["std"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_filter_is_a_regular_expression() {
    let sandbox = Sandbox::new();
    sandbox.copy("tests/data/formats/pytorch/zip_state_dict.pth");
    let ran = sandbox.port(&["inspect", "zip_state_dict.pth", "--filter", "^bn\\.", "--json"]);
    assert_eq!(ran.json()["tensors"].as_array().unwrap().len(), 5);
    let bad = sandbox.port(&["inspect", "zip_state_dict.pth", "--filter", "("]);
    assert_eq!(bad.code, 2);
}

#[test]
fn failures_name_file_class_and_remedy() {
    let sandbox = Sandbox::new();
    sandbox
        .copy("tests/data/formats/hostile/os_system_zip.pth")
        .file("page.pth", "<!DOCTYPE html><p>Sign in");
    sandbox.file("pointer.pth", "version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n");
    std::fs::create_dir(sandbox.path("folder.pth")).unwrap();
    for (file, class, message) in [
        ("os_system_zip.pth", "forbidden", "`os.system`"),
        ("page.pth", "not-a-checkpoint", "web page"),
        ("pointer.pth", "not-a-checkpoint", "git lfs pull"),
        ("folder.pth", "io", "directory"),
        ("absent.pth", "io", "absent.pth"),
    ] {
        let ran = sandbox.port(&["inspect", file, "--json"]);
        let error = &ran.json()["error"];
        assert_eq!((ran.code, error["class"].as_str()), (3, Some(class)), "{file}");
        assert_eq!(error["file"], file);
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(file), "{}", ran.stderr);
    }
}

/// Names come from files: they may not write escape sequences to a terminal.
#[test]
fn control_characters_in_names_are_escaped() {
    let sandbox = Sandbox::new();
    sandbox.file("evil.pkl", b"\x80\x02cos\nsystem\x1b[31m\n.");
    let ran = sandbox.port(&["inspect", "evil.pkl"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("os.system\\u{1b}[31m") && !ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
}

#[test]
fn wrong_usage_exits_with_2() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.port(&["inspect"]).code, 2);
    assert_eq!(sandbox.port(&["no-such-command"]).code, 2);
    assert_eq!(sandbox.port(&["--version"]).code, 0);
}
