//! Every `port` command in the README and the docs prints what they say it prints.

use regex::Regex;

use crate::{Ran, Sandbox, repository};

/// A command of a document and the output shown below it.
struct Example {
    document: String,
    arguments: Vec<String>,
    shown: String,
}

/// `$ port ARGUMENTS` or `$ cargo run --release -- ARGUMENTS` in blocks marked `console`.
fn examples(document: &str) -> Vec<Example> {
    let text = std::fs::read_to_string(repository(document)).unwrap();
    let mut examples: Vec<Example> = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_inside = line == "```console";
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| is_inside) {
            let arguments = command.strip_prefix("port ").or(command.strip_prefix("cargo run --release -- "));
            let arguments = arguments.map(|arguments| arguments.split(' ').map(str::to_owned).collect());
            examples.push(Example {
                document: document.to_owned(),
                arguments: arguments.unwrap_or_default(),
                shown: String::new(),
            });
        } else if let Some(example) = examples.last_mut().filter(|_| is_inside) {
            example.shown.push_str(line);
            example.shown.push('\n');
        }
    }
    examples.retain(|example| !example.arguments.is_empty());
    examples
}

/// Times differ from run to run.
fn normal(text: &str) -> String {
    let times = Regex::new(r"in \d+\.\d\d s").unwrap();
    times.replace_all(text, "in TIME").lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// `...` on a line of its own stands for any number of lines.
fn agrees(shown: &str, printed: &str) -> bool {
    let parts: Vec<String> = shown.split("...\n").map(|part| regex::escape(&normal(part))).collect();
    Regex::new(&format!("^(?s:{})$", parts.join(".*"))).unwrap().is_match(&normal(printed))
}

/// What the commands may name: the sample network and its pictures.
fn copy_samples(sandbox: &Sandbox) {
    std::fs::create_dir_all(sandbox.path("samples/shapes")).unwrap();
    let pictures = std::fs::read_dir(repository("samples/shapes")).unwrap();
    let pictures = pictures.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let pictures = pictures.map(|name| format!("samples/shapes/{name}"));
    for sample in pictures.chain(["samples/nanodet-plus-shapes.pth".to_owned()]) {
        std::fs::copy(repository(&sample), sandbox.path(&sample)).unwrap();
    }
}

#[test]
fn documents_show_real_output() {
    let mut count = 0;
    for document in [
        "README.md",
        "docs/architecture.md",
        "docs/formats.md",
        "docs/mapping.md",
        "docs/security.md",
        "docs/data.md",
    ] {
        let sandbox = Sandbox::new();
        copy_samples(&sandbox);
        for example in examples(document) {
            count += 1;
            let arguments: Vec<&str> = example.arguments.iter().map(String::as_str).collect();
            let Ran { code, stdout, stderr } = sandbox.port(&arguments);
            assert_eq!(code, 0, "{}: port {arguments:?}: {stderr}", example.document);
            assert!(
                agrees(&example.shown, &stdout),
                "{}: port {arguments:?} prints\n{stdout}",
                example.document
            );
        }
    }
    assert!(count >= 2, "only {count} commands in the documents");
}
