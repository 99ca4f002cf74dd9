//! The crates of the workspace, by their manifests.

use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::tree::{Files, Tree};

/// A crate of the workspace.
#[derive(Debug)]
pub struct Member {
    /// Its name as code writes it.
    pub name: String,
    folder: PathBuf,
    /// The packages that it is built from, tests apart.
    pub packages: Vec<String>,
}

/// All crates, the root first.
pub fn members() -> Vec<Member> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = manifest(root);
    let patterns = manifest["workspace"]["members"].as_array().unwrap().iter();
    let folders = patterns.flat_map(|pattern| folders(root, pattern.as_str().unwrap()));
    [root.to_owned()].into_iter().chain(folders).map(Member::of).collect()
}

/// The folders of `crates/*`, or the one that is named.
fn folders(root: &Path, pattern: &str) -> Vec<PathBuf> {
    let Some(above) = pattern.strip_suffix("/*") else { return vec![root.join(pattern)] };
    let folders = read_dir(root.join(above)).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders.filter(|folder| folder.join("Cargo.toml").is_file()).collect();
    folders.sort();
    folders
}

fn manifest(folder: &Path) -> Table {
    read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap()
}

impl Member {
    fn of(folder: PathBuf) -> Member {
        let manifest = manifest(&folder);
        let name = manifest["package"]["name"].as_str().unwrap().replace('-', "_");
        Member { name, packages: packages(&manifest), folder }
    }

    /// The texts of its files.
    pub fn files(&self) -> Files {
        let mut files = Files::new();
        collect(&self.folder.join("src"), "", &mut files);
        files
    }

    /// The modules of its library and of its program.
    pub fn trees(&self, files: &Files, crates: &[&str]) -> Vec<Tree> {
        let roots = ["lib.rs", "main.rs"].into_iter().filter(|root| files.contains_key(*root));
        roots.map(|root| Tree::new(files, root, crates)).collect()
    }
}

fn packages(manifest: &Table) -> Vec<String> {
    let sections = |table: &Table| {
        let sections = ["dependencies", "build-dependencies"].map(|section| table.get(section).cloned());
        sections.into_iter().flatten().flat_map(|section| section.as_table().cloned().unwrap_or_default())
    };
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let of_targets = targets.filter_map(|(_, target)| target.as_table()).flat_map(sections);
    let package = |(name, value): (String, Value)| {
        value.get("package").and_then(Value::as_str).map_or(name, str::to_owned)
    };
    sections(manifest).chain(of_targets).map(package).collect()
}

fn collect(folder: &Path, before: &str, files: &mut Files) {
    for entry in read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, &format!("{before}{name}/"), files);
        } else if name.ends_with(".rs") {
            files.insert(format!("{before}{name}"), read_to_string(&path).unwrap());
        }
    }
}
