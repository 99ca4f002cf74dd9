//! Zip archives: the central directory, checked against the records it describes.
//!
//! Sizes and checksums come from the central directory; local headers of files written by PyTorch leave them
//! zero and only say where the data begin. The `zip` crate is the oracle of the tests but not the reader: it
//! drops duplicate names and insists on checksums, and the slices of the mapped file are needed here.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Problem;
use crate::limits;
use crate::memory::{grown, hashed};
use crate::storage::{Encoding, Storage};

/// Signature and length without variable parts of each structure (PKWARE APPNOTE 4.3).
const LOCAL: (&[u8; 4], usize) = (b"PK\x03\x04", 30);
const CENTRAL: (&[u8; 4], usize) = (b"PK\x01\x02", 46);
const END: (&[u8; 4], usize) = (b"PK\x05\x06", 22);
const END64: (&[u8; 4], usize) = (b"PK\x06\x06", 56);
const LOCATOR64: (&[u8; 4], usize) = (b"PK\x06\x07", 20);
/// The archive comment's length is a 16-bit field.
const MAX_COMMENT: usize = 0xffff;
/// Deflate cannot expand more than this many times (zlib's technical notes).
const MAX_DEFLATE_RATIO: u64 = 1032;
/// Bit 0 of the general-purpose flags.
const ENCRYPTED: u16 = 1;
/// The only extra field that matters: 64-bit sizes and offset.
const EXTRA_ZIP64: u16 = 1;

const REPACK: &str = "pack it again without compression: zip -0 -r NEW.pth FOLDER";

/// One record: where its bytes lie and what they should be.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Where the local header begins.
    header: u64,
    /// The stored bytes in the file.
    data: Range<usize>,
    encoding: Encoding,
    crc32: u32,
}

/// An archive whose records are known not to overlap and not to leave the file.
#[derive(Debug)]
pub(crate) struct Archive {
    file: Arc<Path>,
    bytes: Bytes,
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
}

impl Archive {
    /// Reads and checks the directory of the zip archive `bytes`, the content of `file`.
    ///
    /// # Errors
    /// When the directory is missing, contradicts the records, repeats a name, or uses encryption or an
    /// unknown compression.
    pub(crate) fn read(file: &Arc<Path>, bytes: &Bytes) -> Result<Archive, Problem> {
        let directory = Directory::find(bytes)?;
        let mut entries = Vec::new();
        let mut rest = directory.records(bytes)?;
        while !rest.is_empty() {
            let (entry, after) = central_entry(rest, bytes, directory.start)?;
            entries.push(entry);
            rest = after;
        }
        if entries.len() as u64 != directory.count {
            return Err(Problem::Contradiction {
                place: "the zip central directory".to_owned(),
                says: format!("{} records", directory.count),
                but: format!("it lists {}", entries.len()),
            });
        }
        check_overlap(&entries)?;
        let by_name = index_names(&entries)?;
        Ok(Archive { file: file.clone(), bytes: bytes.clone(), entries, by_name })
    }

    /// The records, in directory order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Memory that the directory takes, and a storage for each record.
    pub(crate) fn memory(&self) -> usize {
        let names = self.entries.iter().map(|entry| entry.name.len()).sum::<usize>();
        let record = grown::<Entry>() + 2 * hashed::<(String, usize)>() + size_of::<Storage>();
        self.entries.len() * record + 5 * names
    }

    /// The record of this name.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.get(*self.by_name.get(name)?)
    }

    /// The bytes of a record, to be read on demand.
    pub(crate) fn storage(&self, entry: &Entry) -> Storage {
        // CRC 0 means `not computed` (torch.serialization.set_crc32_options(False)). The sum of an empty
        // record is 0 as well, and one in 2^32 real sums, which then goes unchecked.
        let crc32 = (entry.crc32 != 0).then_some(entry.crc32);
        let stored = self.bytes.slice(entry.data.clone());
        Storage::new(self.file.clone(), format!("record `{}`", entry.name), stored, entry.encoding, crc32)
    }

    /// The verified content of a record that must be in memory, such as `data.pkl`: a slice of the file
    /// where it is stored plainly.
    ///
    /// # Errors
    /// When it is damaged, or too large once inflated.
    pub(crate) fn content(&self, entry: &Entry) -> Result<Bytes, Problem> {
        let storage = self.storage(entry);
        if entry.encoding != Encoding::Raw && storage.len() > limits::MAX_INFLATED_PICKLE {
            return Err(Problem::Limit {
                place: storage.place().to_owned(),
                what: format!("{} bytes after inflation", storage.len()),
                limit: limits::MAX_INFLATED_PICKLE,
            });
        }
        storage.verify()?;
        storage.decoded()
    }
}

/// Whether the bytes end with a zip directory although they do not begin with a record.
pub(crate) fn ends_with_directory(bytes: &[u8]) -> bool {
    find_end(bytes).is_some()
}

/// Where the central directory lies.
struct Directory {
    start: u64,
    size: u64,
    count: u64,
}

impl Directory {
    fn find(bytes: &[u8]) -> Result<Directory, Problem> {
        let Some(end) = find_end(bytes) else {
            return Err(match bytes.windows(4).rev().take(MAX_COMMENT).any(|window| window == END.0) {
                true => Problem::malformed("the end of the zip archive", "other bytes follow it"),
                false => Problem::EndMissing { what: "the zip archive has no central directory at its end" },
            });
        };
        let fields = Fields::of(bytes, end, END, "the end of the zip archive")?;
        let directory = Directory {
            count: fields.u16(10)?.into(),
            size: fields.u32(12)?.into(),
            start: fields.u32(16)?.into(),
        };
        let is_full =
            directory.count == 0xffff || directory.size == 0xffff_ffff || directory.start == 0xffff_ffff;
        let locator = end.checked_sub(LOCATOR64.1).filter(|at| bytes.get(*at..*at + 4) == Some(LOCATOR64.0));
        let (directory, limit) = match locator {
            Some(locator) => {
                let at = Fields::of(bytes, locator, LOCATOR64, "the zip64 locator")?.u64(8)?;
                (Directory::find64(bytes, at)?, at)
            }
            None if is_full => return Err(Problem::malformed("the zip64 locator", "it is missing")),
            None => (directory, end as u64),
        };
        match directory.start.checked_add(directory.size) {
            Some(after) if after <= limit => Ok(directory),
            _ => Err(Problem::Contradiction {
                place: "the end of the zip archive".to_owned(),
                says: format!("{} directory bytes from {}", directory.size, directory.start),
                but: format!("the file ends at {}", bytes.len()),
            }),
        }
    }

    fn find64(bytes: &[u8], at: u64) -> Result<Directory, Problem> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let fields = Fields::of(bytes, at, END64, "the zip64 end of the archive")?;
        Ok(Directory { count: fields.u64(32)?, size: fields.u64(40)?, start: fields.u64(48)? })
    }

    fn records<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Problem> {
        let range = self.start as usize..(self.start + self.size) as usize;
        bytes.get(range).ok_or_else(|| Problem::malformed("the zip central directory", "it leaves the file"))
    }
}

/// The last end record whose comment reaches exactly to the end of the file.
fn find_end(bytes: &[u8]) -> Option<usize> {
    let last = bytes.len().checked_sub(END.1)?;
    (last.saturating_sub(MAX_COMMENT)..=last).rev().find(|at| {
        bytes.get(*at..).is_some_and(|record| {
            let comment =
                record.get(20..22).and_then(|length| length.try_into().ok()).map(u16::from_le_bytes);
            record.starts_with(END.0) && comment.map(usize::from) == Some(record.len() - END.1)
        })
    })
}

/// Fixed-position fields of a structure that starts with a signature.
struct Fields<'a> {
    bytes: &'a [u8],
    place: &'a str,
}

impl<'a> Fields<'a> {
    fn of(
        bytes: &'a [u8],
        at: usize,
        kind: (&[u8; 4], usize),
        place: &'a str,
    ) -> Result<Fields<'a>, Problem> {
        let fixed = at.checked_add(kind.1).and_then(|end| bytes.get(at..end));
        match fixed {
            Some(fixed) if fixed.starts_with(kind.0) => Ok(Fields { bytes: fixed, place }),
            Some(_) => Err(Problem::malformed(place, "its signature is wrong")),
            None => Err(Problem::malformed(place, "it lies past the end of the file")),
        }
    }

    fn take<const N: usize>(&self, at: usize) -> Result<[u8; N], Problem> {
        let field = self.bytes.get(at..at + N).and_then(|field| field.try_into().ok());
        field.ok_or_else(|| Problem::malformed(self.place, "a field is cut off"))
    }

    fn u16(&self, at: usize) -> Result<u16, Problem> {
        self.take(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, Problem> {
        self.take(at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Result<u64, Problem> {
        self.take(at).map(u64::from_le_bytes)
    }
}

/// Sizes and offset of a record, 64-bit where the extra field says so.
struct Extent {
    stored: u64,
    size: u64,
    header: u64,
}

/// Reads one record of the central directory and checks it against the local header it points at.
fn central_entry<'a>(rest: &'a [u8], file: &[u8], directory: u64) -> Result<(Entry, &'a [u8]), Problem> {
    let place = "the zip central directory";
    let fields = Fields::of(rest, 0, CENTRAL, place)?;
    let cut = || Problem::malformed(place, "a record is cut off");
    let name_end = CENTRAL.1 + usize::from(fields.u16(28)?);
    let extra_end = name_end + usize::from(fields.u16(30)?);
    let end = extra_end + usize::from(fields.u16(32)?);
    let name = rest.get(CENTRAL.1..name_end).ok_or_else(cut)?;
    let name = std::str::from_utf8(name).map_err(|_| Problem::malformed(place, "a name is not UTF-8"))?;
    let extra = rest.get(name_end..extra_end).ok_or_else(cut)?;
    let after = rest.get(end..).ok_or_else(cut)?;

    let extent = Extent {
        stored: fields.u32(20)?.into(),
        size: fields.u32(24)?.into(),
        header: fields.u32(42)?.into(),
    };
    let extent = widen(extent, extra, name)?;
    let encoding = encoding(name, fields.u16(8)?, fields.u16(10)?, &extent)?;
    let data = local_data(file, directory, name, fields.u16(10)?, &extent)?;
    let entry =
        Entry { name: name.to_owned(), header: extent.header, data, encoding, crc32: fields.u32(16)? };
    Ok((entry, after))
}

/// Takes from the zip64 extra field those values that are all ones in the record.
fn widen(mut extent: Extent, mut extra: &[u8], name: &str) -> Result<Extent, Problem> {
    let place = format!("record `{name}`");
    while let [id0, id1, len0, len1, rest @ ..] = extra {
        let length = usize::from(u16::from_le_bytes([*len0, *len1]));
        let (mut field, after) = rest
            .split_at_checked(length)
            .ok_or_else(|| Problem::malformed(&*place, "an extra field is cut off"))?;
        if u16::from_le_bytes([*id0, *id1]) == EXTRA_ZIP64 {
            for value in [&mut extent.size, &mut extent.stored, &mut extent.header] {
                if *value == 0xffff_ffff {
                    let (wide, more) = field
                        .split_first_chunk()
                        .ok_or_else(|| Problem::malformed(&*place, "the zip64 field is too short"))?;
                    *value = u64::from_le_bytes(*wide);
                    field = more;
                }
            }
        }
        extra = after;
    }
    Ok(extent)
}

fn encoding(name: &str, flags: u16, method: u16, extent: &Extent) -> Result<Encoding, Problem> {
    let place = || format!("record `{name}`");
    if flags & ENCRYPTED != 0 {
        return Err(Problem::unsupported(
            place(),
            "zip encryption (a password)",
            "decrypt it first: unzip, then zip -0 -r",
        ));
    }
    let contradiction = |but: String| Problem::Contradiction {
        place: place(),
        says: format!("{} bytes from {} stored ones", extent.size, extent.stored),
        but,
    };
    match method {
        0 if extent.size == extent.stored => Ok(Encoding::Raw),
        0 => Err(contradiction("it is not compressed".to_owned())),
        8 if extent.size <= extent.stored.saturating_mul(MAX_DEFLATE_RATIO) => {
            Ok(Encoding::Deflate { size: extent.size })
        }
        8 => Err(contradiction(format!("deflate expands {MAX_DEFLATE_RATIO} times at most"))),
        other => Err(Problem::unsupported(place(), format!("zip compression method {other}"), REPACK)),
    }
}

/// Where the data begin: after the local header, which must agree about name and method.
fn local_data(
    file: &[u8],
    directory: u64,
    name: &str,
    method: u16,
    extent: &Extent,
) -> Result<Range<usize>, Problem> {
    let place = format!("record `{name}`");
    let at = usize::try_from(extent.header).unwrap_or(usize::MAX);
    let fields = Fields::of(file, at, LOCAL, &place)?;
    let name_len = usize::from(fields.u16(26)?);
    let start = at + LOCAL.1 + name_len + usize::from(fields.u16(28)?);
    let local_name = file.get(at + LOCAL.1..at + LOCAL.1 + name_len);
    if local_name != Some(name.as_bytes()) || fields.u16(8)? != method {
        return Err(Problem::malformed(place, "its local header and the central directory disagree"));
    }
    let end = (start as u64).checked_add(extent.stored);
    match end.filter(|end| *end <= directory) {
        Some(end) => Ok(start..end as usize),
        None => Err(Problem::Truncated {
            place,
            needs: extent.stored,
            has: directory.saturating_sub(start as u64),
        }),
    }
}

/// Records may not share bytes: an overlap is how a small file pretends to be a large one, or shows different
/// content to different readers.
fn check_overlap(entries: &[Entry]) -> Result<(), Problem> {
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_by_key(|entry| entry.header);
    for (before, after) in order.iter().zip(order.iter().skip(1)) {
        if before.data.end as u64 > after.header || before.header == after.header {
            return Err(Problem::malformed(
                format!("records `{}` and `{}`", before.name, after.name),
                "they overlap",
            ));
        }
    }
    Ok(())
}

fn index_names(entries: &[Entry]) -> Result<HashMap<String, usize>, Problem> {
    let mut by_name = HashMap::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        if by_name.insert(entry.name.clone(), index).is_some() {
            return Err(Problem::malformed(format!("record `{}`", entry.name), "its name is a duplicate"));
        }
    }
    Ok(by_name)
}
