//! Tensor data in files beside the model: `location`, `offset` and `length` are attacker-controlled text.
//!
//! A location is a relative POSIX path that stays in the directory of the model, before and after symbolic links
//! are followed. When the model itself is reached through a link (the Hugging Face cache keeps all files of a
//! repository in one folder and links to them), the directory it really lies in is allowed as well.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use sha1::{Digest, Sha1};

use super::messages::StringStringEntryProto;
use crate::error::{Error, InFile, Problem, Result};
use crate::limits;
use crate::source::Source;
use crate::storage::Storage;

/// The external files of one model, each mapped once.
pub(super) struct ExternalFiles<'a> {
    source: &'a Source,
    /// By real path.
    files: HashMap<PathBuf, ExternalFile>,
}

struct ExternalFile {
    bytes: Bytes,
    /// In hexadecimal, once a tensor has asked for it.
    sha1: Option<String>,
}

impl<'a> ExternalFiles<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        ExternalFiles { source, files: HashMap::new() }
    }

    /// The file of the model itself.
    pub(super) fn model(&self) -> &Arc<Path> {
        &self.source.path
    }

    /// Whether any tensor has its data in another file.
    pub(super) fn any(&self) -> bool {
        !self.files.is_empty()
    }

    /// The bytes that the entries of a tensor's `external_data` point to.
    ///
    /// # Errors
    /// When the entries are malformed, the file is missing or outside the directory of the model, or the range
    /// is outside the file.
    pub(super) fn storage(&mut self, place: &str, entries: &[StringStringEntryProto]) -> Result<Storage> {
        let model = self.source.path.clone();
        let reference = Reference::parse(place, entries).in_file(&model)?;
        let path = self.directory().join(&reference.location);
        let real = self.resolve(place, &reference.location, &path)?;
        let file = match self.files.entry(real) {
            Entry::Occupied(file) => file.into_mut(),
            Entry::Vacant(file) => file.insert(ExternalFile { bytes: files::map(&path)?, sha1: None }),
        };
        reference.check_sum(file).in_file(&path)?;
        let bytes = reference.slice(place, &file.bytes).in_file(&model)?;
        let record = format!("the data of {place} in `{}`", reference.location);
        Ok(Storage::raw(path.into(), record, bytes))
    }

    fn directory(&self) -> &Path {
        match self.source.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// The real path of a file, which must not be outside the directory of the model.
    fn resolve(&self, place: &str, location: &str, path: &Path) -> Result<PathBuf> {
        let real = path.canonicalize().map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                let what = format!("external file `{location}`");
                Error::new(self.model().to_path_buf(), Problem::Missing { what, wanted_by: place.to_owned() })
            }
            _ => Error::new(path, error.into()),
        })?;
        let directory = self.directory().canonicalize().ok();
        let model = self.model().canonicalize().ok();
        let allowed = [directory.as_deref(), model.as_deref().and_then(Path::parent)];
        if allowed.into_iter().flatten().any(|directory| real.starts_with(directory)) {
            return Ok(real);
        }
        Err(forbidden(place, &format!("{location} -> {}", real.display()))).in_file(self.model())
    }
}

fn forbidden(place: &str, path: &str) -> Problem {
    Problem::ForbiddenPath { place: place.to_owned(), path: path.to_owned() }
}

/// What the entries of `external_data` say.
#[derive(Debug, PartialEq, Eq)]
struct Reference {
    location: String,
    offset: u64,
    /// To the end of the file when absent.
    length: Option<u64>,
    /// SHA-1 of the whole file, in hexadecimal.
    checksum: Option<String>,
}

impl Reference {
    fn parse(place: &str, entries: &[StringStringEntryProto]) -> std::result::Result<Reference, Problem> {
        let location = find(place, entries, "location")?.filter(|location| !location.is_empty());
        let location =
            location.ok_or_else(|| Problem::malformed(place, "its external data have no location"))?;
        if !stays_inside(location) {
            return Err(forbidden(place, location));
        }
        let number = |key| find(place, entries, key)?.map(|text| number(place, key, text)).transpose();
        Ok(Reference {
            location: location.to_owned(),
            offset: number("offset")?.unwrap_or(0),
            length: number("length")?,
            checksum: find(place, entries, "checksum")?.map(str::to_ascii_lowercase),
        })
    }

    fn slice(&self, place: &str, file: &Bytes) -> std::result::Result<Bytes, Problem> {
        let size = file.len() as u64;
        let end = match self.length {
            Some(length) => self.offset.saturating_add(length),
            None => size.max(self.offset),
        };
        let range = usize::try_from(self.offset).ok().zip(usize::try_from(end).ok());
        match range.filter(|_| end <= size) {
            Some((start, end)) => Ok(file.slice(start..end)),
            None => Err(Problem::OutOfRange {
                place: place.to_owned(),
                reach: format!("bytes {}..{end} of `{}`, which has {size}", self.offset, self.location),
            }),
        }
    }

    /// Compares the checksum over the whole file, once per file. Large files are left to whoever reads them.
    fn check_sum(&self, file: &mut ExternalFile) -> std::result::Result<(), Problem> {
        let Some(stored) = &self.checksum else {
            return Ok(());
        };
        if file.bytes.len() as u64 > limits::EAGER_CHECKSUM_BYTES {
            return Ok(());
        }
        let computed = file.sha1.get_or_insert_with(|| {
            Sha1::digest(&file.bytes).iter().map(|byte| format!("{byte:02x}")).collect()
        });
        if stored == computed {
            return Ok(());
        }
        Err(Problem::Checksum {
            place: format!("external file `{}`", self.location),
            algorithm: "SHA-1",
            stored: stored.clone(),
            computed: computed.clone(),
        })
    }
}

/// The value of `key`, which may occur once.
fn find<'a>(
    place: &str,
    entries: &'a [StringStringEntryProto],
    key: &str,
) -> std::result::Result<Option<&'a str>, Problem> {
    let mut values = entries.iter().filter(|entry| entry.key == key).map(|entry| &*entry.value);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Problem::malformed(place, "its external data have two entries of one key")),
    }
}

/// Decimal digits and nothing else: no sign, no spaces.
fn number(place: &str, key: &str, text: &str) -> std::result::Result<u64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| Problem::Malformed {
        place: format!("{place}, {key} `{}` of its external data,", text.escape_debug()),
        rule: "it is not a number of bytes",
    })
}

/// Whether `location` is a relative path that goes nowhere up, on any operating system.
fn stays_inside(location: &str) -> bool {
    let drive = location.as_bytes().get(1) == Some(&b':');
    let odd = location.starts_with('/') || location.contains(['\\', '\0']) || drive;
    !odd && location.split('/').all(|step| step != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(pairs: &[(&str, &str)]) -> Vec<StringStringEntryProto> {
        let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        pairs.iter().map(entry).collect()
    }

    fn parse(pairs: &[(&str, &str)]) -> std::result::Result<Reference, Problem> {
        Reference::parse("tensor `w`", &entries(pairs))
    }

    /// A model in `directory` (which need not exist as a file) and nothing in it.
    fn source(model: &Path) -> Source {
        Source { path: model.into(), bytes: Bytes::new() }
    }

    #[test]
    fn locations_stay_in_the_directory() {
        for good in ["w.bin", "data/w.bin", "./w.bin", "a..b", "...", "a b/ü.bin"] {
            assert!(stays_inside(good), "{good}");
        }
        for bad in ["/etc/passwd", "..", "../w", "a/../../w", "a/..", "..\\w", "a\\w", "C:w", "c:/w", "a\0b"]
        {
            assert!(!stays_inside(bad), "{bad}");
        }
    }

    #[test]
    fn numbers_are_digits_only() {
        let ok = parse(&[("location", "w"), ("offset", "007"), ("length", "4"), ("unknown", "x")]).unwrap();
        assert_eq!((ok.offset, ok.length), (7, Some(4)));
        for bad in ["", "-1", "+1", " 1", "1 ", "0x10", "1e3", "99999999999999999999", "١"] {
            let problem = parse(&[("location", "w"), ("offset", bad)]).unwrap_err();
            assert!(problem.to_string().contains("offset"), "{problem}");
        }
        assert!(parse(&[("location", "w"), ("location", "v")]).is_err());
    }

    #[test]
    fn ranges_outside_the_file_are_refused() {
        let file = Bytes::from_static(b"0123456789");
        let slice = |offset, length| {
            let reference = Reference { location: "w".to_owned(), offset, length, checksum: None };
            reference.slice("tensor `w`", &file)
        };
        assert_eq!(slice(4, None).unwrap(), b"456789"[..]);
        assert_eq!(slice(10, None).unwrap(), b""[..]);
        assert_eq!(slice(2, Some(3)).unwrap(), b"234"[..]);
        for (offset, length) in
            [(11, None), (8, Some(3)), (u64::MAX, Some(1)), (1, Some(u64::MAX)), (11, Some(0))]
        {
            assert!(slice(offset, length).is_err(), "{offset} {length:?}");
        }
    }

    #[test]
    fn checksums_are_compared() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w"), b"abc").unwrap();
        let source = source(&folder.path().join("m.onnx"));
        let mut files = ExternalFiles::new(&source);
        let mut read = |sum| files.storage("tensor `w`", &entries(&[("location", "w"), ("checksum", sum)]));
        assert!(read("A9993E364706816ABA3E25717850C26C9CD0D89D").is_ok());
        assert!(read("00").unwrap_err().to_string().contains("SHA-1 checksum mismatch: 00 is stored"));
    }

    /// Links may lead around inside the directory, but not out of it.
    #[cfg(unix)]
    #[test]
    fn links_are_followed_before_the_check() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), b"abc").unwrap();
        std::fs::write(inside.path().join("w"), b"abc").unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("data")).unwrap();
        std::os::unix::fs::symlink("w", inside.path().join("link")).unwrap();
        let source = source(&inside.path().join("m.onnx"));
        let mut files = ExternalFiles::new(&source);
        let error = files.storage("tensor `w`", &entries(&[("location", "data/secret")])).unwrap_err();
        assert_eq!(error.class(), crate::ErrorClass::Forbidden, "{error}");
        assert!(files.storage("tensor `w`", &entries(&[("location", "link")])).is_ok());
        assert_eq!(files.files.len(), 1);
    }

    /// The Hugging Face cache: `snapshots/x/m.onnx -> ../../blobs/1`, and the same for its data.
    #[cfg(unix)]
    #[test]
    fn a_model_that_is_a_link_brings_its_directory() {
        let cache = tempfile::tempdir().unwrap();
        let (blobs, snapshot) = (cache.path().join("blobs"), cache.path().join("snapshots/x"));
        std::fs::create_dir_all(&snapshot).unwrap();
        std::fs::create_dir(&blobs).unwrap();
        for (blob, name) in [("1", "m.onnx"), ("2", "w")] {
            std::fs::write(blobs.join(blob), b"abc").unwrap();
            std::os::unix::fs::symlink(format!("../../blobs/{blob}"), snapshot.join(name)).unwrap();
        }
        let source = source(&snapshot.join("m.onnx"));
        assert!(ExternalFiles::new(&source).storage("tensor `w`", &entries(&[("location", "w")])).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn pipes_are_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("w")).status();
        if made.is_ok_and(|status| status.success()) {
            let source = source(&folder.path().join("m.onnx"));
            let error = ExternalFiles::new(&source).storage("tensor `w`", &entries(&[("location", "w")]));
            assert_eq!(error.unwrap_err().class(), crate::ErrorClass::Io);
        }
    }
}
