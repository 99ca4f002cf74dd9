//! `port mapping`, and the conversion and inspection of known networks.

use serde_json::json;

use crate::{Ran, Sandbox};

/// A table that calls the backbone `body` and leaves the rest as it is.
const TABLE: &str = "
family = 'nanodet-plus'
dialect = 'mine'
description = 'for a test'
[[root]]
name = 'weights'
path = ['state_dict', '']
prefix = ''
[[rule]]
foreign = 'body.{rest..}'
canonical = 'backbone.{rest..}'
[[rule]]
foreign = '{module:fpn|head|aux_fpn|aux_head}.{rest..}'
canonical = '{module}.{rest..}'
";

const SAMPLE: &str = "nanodet-plus-shapes.pth";

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.copy("samples/nanodet-plus-shapes.pth").file("mine.toml", TABLE);
    sandbox
}

/// Converts the sample, with other arguments.
fn convert(sandbox: &Sandbox, arguments: &[&str]) -> Ran {
    let fixed = ["convert", SAMPLE, "--to", "safetensors", "-o", "out.safetensors", "--json"];
    sandbox.port(&[&fixed, arguments].concat())
}

#[test]
fn tables_are_listed_shown_and_checked() {
    let sandbox = sandbox();
    let list = sandbox.port(&["mapping", "list", "--json"]).json();
    let names = list["tables"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap());
    assert!(names.clone().any(|name| name == "nanodet-plus/upstream"), "{:?}", names.collect::<Vec<_>>());
    let show = sandbox.port(&["mapping", "show", "nanodet-plus/jittor", "--json"]).json();
    assert_eq!(show["rules"][0]["operations"], json!(["squeeze axis 0"]));
    assert_eq!(show["rules"][0]["example"]["to"], json!(["aux_head.scales.0.scale"]));
    let check = sandbox.port(&["mapping", "check", "nanodet-plus/jittor", "mine.toml", "--json"]);
    assert_eq!((check.code, &check.json()["holds"]), (0, &json!(true)), "{}", check.stdout);
    assert_eq!(check.json()["tables"][1]["networks"], 20);
}

#[test]
fn a_table_that_does_not_hold_is_an_answer() {
    let sandbox = sandbox();
    let check = |name: &str, text: &str| sandbox.file(name, text).port(&["mapping", "check", name]);
    let incomplete = check("a.toml", &TABLE.replace("aux_fpn|", ""));
    assert_eq!(incomplete.code, 1);
    assert!(incomplete.stdout.contains("`aux_fpn.reduce_layers.0.conv.weight`"), "{}", incomplete.stdout);
    let ambiguous = check("b.toml", &TABLE.replace("'body.{rest..}'", "'{rest..}.weight'"));
    assert_eq!(ambiguous.code, 1);
    assert!(ambiguous.stdout.contains("both take `"), "{}", ambiguous.stdout);
    let unused = check("c.toml", &format!("{TABLE}[[rule]]\nforeign = 'x'\ncanonical = 'x'\n"));
    assert_eq!(unused.code, 0);
    assert!(unused.stdout.contains("no network needs the rule x => x"), "{}", unused.stdout);
    let broken = check("d.toml", "family = ");
    assert_eq!(broken.code, 3);
    assert!(
        broken.stderr.contains("d.toml") && broken.stderr.contains("docs/mapping.md"),
        "{}",
        broken.stderr
    );
    assert_eq!(sandbox.port(&["mapping", "check", "absent.toml"]).code, 2);
}

#[test]
fn a_known_network_is_recognised_and_gets_its_own_names() {
    let sandbox = sandbox();
    let inspected = sandbox.port(&["inspect", SAMPLE, "--json"]).json();
    assert_eq!(inspected["network"]["name"], "nanodet-plus-0.5x-64");
    let ran = convert(&sandbox, &["--model", "auto"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let json = ran.json();
    let network = &json["network"];
    assert_eq!((&network["classes"], &network["auxiliary"]), (&json!(6), &json!(true)));
    assert_eq!(json["mapped"].as_array().unwrap().len(), 875);
    let written = sandbox.port(&["inspect", "out.safetensors", "--json"]).json();
    assert_eq!(written["tensors"][0]["name"], "backbone.conv1.0.weight");
    assert_eq!(written["network"]["name"], network["name"]);
}

#[test]
fn without_a_model_names_stay_as_they_are() {
    let sandbox = sandbox();
    for arguments in [&[][..], &["--model", "none"]] {
        assert_eq!(convert(&sandbox, arguments).code, 0);
        let written = sandbox.port(&["inspect", "out.safetensors", "--json"]).json();
        assert_eq!(written["tensors"][0]["name"], "state_dict.backbone.conv1.0.weight");
    }
    assert_eq!(convert(&sandbox, &["--model", "none", "--weights", "avg"]).code, 2);
    assert_eq!(convert(&sandbox, &["--model", "resnet"]).code, 2);
    assert_eq!(convert(&sandbox, &["--mapping", "resnet"]).code, 2);
}

#[test]
fn what_cannot_be_explained_is_refused_with_the_nearest_names() {
    let sandbox = sandbox();
    let rename = "state_dict.fpn.{rest..} => state_dict.neck.{rest..}";
    let one = "state_dict.backbone.conv1.0.weight => state_dict.backbone.conv1.0.wieght";
    let ran = convert(&sandbox, &["--model", "auto", "--rename", one]);
    assert_eq!(ran.code, 3);
    let error = &ran.json()["error"];
    assert_eq!((&error["class"], &error["file"]), (&json!("unknown-network"), &json!(SAMPLE)));
    let names: Vec<_> =
        error["problems"].as_array().unwrap().iter().map(|problem| &problem["name"]).collect();
    assert_eq!(names, ["state_dict.backbone.conv1.0.wieght", "backbone.conv1.0.weight"]);
    assert_eq!(error["problems"][0]["nearest"][0]["name"], "state_dict.backbone.conv1.0.weight");
    assert!(!sandbox.path("out.safetensors").exists());
    let many = convert(&sandbox, &["--model", "auto", "--rename", rename]);
    assert!(
        many.stderr.contains("state_dict.neck.") && many.stderr.contains("more; --json"),
        "{}",
        many.stderr
    );
    let wrong = convert(&sandbox, &["--model", "nanodet-plus-m-1.5x"]);
    assert!(wrong.stderr.contains("taken for nanodet-plus-m-1.5x with 6 classes"), "{}", wrong.stderr);
    let other = convert(&sandbox, &["--weights", "ema"]);
    assert!(other.stderr.contains("no weights `ema`"), "{}", other.stderr);
}

#[test]
fn other_names_are_read_by_a_table_of_the_users() {
    let sandbox = sandbox();
    let rename = "state_dict.backbone.{rest..} => state_dict.body.{rest..}";
    let ran = convert(&sandbox, &["--mapping", "mine.toml", "--rename", rename]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.json()["network"]["table"], "nanodet-plus/mine");
    assert_eq!(ran.json()["mapped"][0]["from"][0], "body.conv1.0.weight");
    assert_eq!(convert(&sandbox, &["--model", "auto", "--rename", rename]).code, 3);
    sandbox.file("bad.toml", TABLE.replace("'nanodet-plus'", "'resnet'"));
    let family = convert(&sandbox, &["--mapping", "bad.toml"]);
    assert!(family.code == 2 && family.stderr.contains("family `resnet`"), "{}", family.stderr);
}
