//! Where the weights lie in a file: a path to their dictionary and a prefix of their names.
//!
//! Both are a beginning of the flat names, so it does not matter whether a file nests its dictionaries or was
//! flattened on its way through another format.

/// A place where weights may lie.
#[derive(Debug, Clone)]
pub struct Root {
    pub(super) name: String,
    /// Dotted paths to the dictionary, tried in order; empty for the whole file.
    pub(super) paths: Vec<String>,
    /// What the names begin with there, tried in order.
    pub(super) prefixes: Vec<String>,
}

impl Root {
    /// The name that `--weights` chooses it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Dotted paths to the dictionary.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// What the names begin with.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
    }

    /// The beginnings of flat names, with the part of each that is the path.
    pub(super) fn beginnings(&self) -> impl Iterator<Item = (String, String)> {
        self.paths.iter().flat_map(|path| {
            let path = if path.is_empty() { String::new() } else { format!("{path}.") };
            self.prefixes.iter().map(move |prefix| (path.clone(), format!("{path}{prefix}")))
        })
    }
}
