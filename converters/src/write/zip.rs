//! Zip archives of stored records: offsets first, headers once the checksums are known.

use files::Output;

use super::parts::{Content, Parts};
use crate::error::Result;

/// A 32-bit field that says: look into the zip64 extra field.
const FULL: u64 = 0xffff_ffff;
/// Bytes of a local header without name and extra field.
const LOCAL_LEN: u64 = 30;
/// Bytes of a zip64 extra field with both sizes.
const ZIP64_LEN: u64 = 20;
/// General-purpose flag 11: names are UTF-8.
const UTF8: u16 = 0x0800;
/// The longest name of a record.
pub(super) const MAX_NAME: usize = 0xffff;
/// The version that introduced zip64.
const VERSION: u16 = 45;
/// 1980-01-01, the earliest date: files do not differ because of the clock.
const DATE: u16 = 0x21;
/// The id of the extra field that PyTorch pads with (`caffe2/serialize/inline_container.cc`).
const PADDING_ID: &[u8; 2] = b"FB";

/// A record whose content is laid out.
#[derive(Debug)]
struct Record {
    name: String,
    /// Where the local header begins.
    header: u64,
    /// Where the content begins.
    start: u64,
    len: u64,
    /// The first part of the file that belongs to it, one past the last, and each part's length.
    first_part: usize,
    parts: Vec<u64>,
}

/// The records of an archive.
#[derive(Debug, Default)]
pub(super) struct Zip {
    records: Vec<Record>,
    next_part: usize,
}

impl Zip {
    /// Lays out a record whose content begins at a multiple of `alignment`, at most 2^15.
    pub(super) fn record<'a>(
        &mut self,
        parts: &mut Parts<'a>,
        name: &str,
        alignment: u64,
        contents: Vec<(Content<'a>, u64)>,
    ) {
        let header = parts.len();
        let len = contents.iter().map(|(_, len)| *len).sum();
        let fixed = header + LOCAL_LEN + name.len() as u64 + if len >= FULL { ZIP64_LEN } else { 0 };
        // An extra field takes four bytes at least.
        let start =
            if fixed.is_multiple_of(alignment) { fixed } else { (fixed + 4).next_multiple_of(alignment) };
        parts.skip(start - header);
        let first_part = self.next_part;
        let lens: Vec<u64> = contents.iter().map(|(_, len)| *len).collect();
        self.next_part += lens.len();
        for (content, len) in contents {
            match content {
                Content::Bytes(bytes) => parts.bytes(bytes),
                Content::Tensor(tensor, index) => parts.tensor(tensor, index, len),
            }
        }
        self.records.push(Record { name: name.to_owned(), header, start, len, first_part, parts: lens });
    }

    /// Writes the local headers and, from `end`, the directory. `crcs` are those of the file's parts.
    pub(super) fn write(&self, end: u64, crcs: &[u32], output: &Output) -> Result<u64> {
        let mut directory = Vec::new();
        for record in &self.records {
            let crc = record.crc(crcs);
            output.write_at(record.header, &record.local_header(crc))?;
            directory.extend(record.central_header(crc));
        }
        let size = directory.len() as u64;
        directory.extend(end_records(self.records.len() as u64, size, end));
        output.write_at(end, &directory)?;
        Ok(end + directory.len() as u64)
    }
}

impl Record {
    /// The sum of the whole content from those of its parts.
    fn crc(&self, crcs: &[u32]) -> u32 {
        let mut whole = crc32fast::Hasher::new();
        for (crc, len) in crcs.iter().skip(self.first_part).zip(&self.parts) {
            whole.combine(&crc32fast::Hasher::new_with_initial_len(*crc, *len));
        }
        whole.finalize()
    }

    fn local_header(&self, crc: u32) -> Vec<u8> {
        let is_wide = self.len >= FULL;
        let mut header = Vec::new();
        header.extend(b"PK\x03\x04");
        header.extend(VERSION.to_le_bytes());
        header.extend(UTF8.to_le_bytes());
        header.extend([0, 0, 0, 0]); // stored; midnight
        header.extend(DATE.to_le_bytes());
        header.extend(crc.to_le_bytes());
        header.extend(self.narrow_len().to_le_bytes());
        header.extend(self.narrow_len().to_le_bytes());
        header.extend((self.name.len() as u16).to_le_bytes());
        let extra = self.start - self.header - LOCAL_LEN - self.name.len() as u64;
        header.extend((extra as u16).to_le_bytes());
        header.extend(self.name.as_bytes());
        if is_wide {
            header.extend([1, 0, 16, 0]);
            header.extend(self.len.to_le_bytes());
            header.extend(self.len.to_le_bytes());
        }
        let padding = extra - if is_wide { ZIP64_LEN } else { 0 };
        if padding > 0 {
            header.extend(PADDING_ID);
            header.extend((padding as u16 - 4).to_le_bytes());
            header.resize((self.start - self.header) as usize, b'Z');
        }
        header
    }

    fn central_header(&self, crc: u32) -> Vec<u8> {
        let mut wide = Vec::new();
        if self.len >= FULL {
            wide.extend(self.len.to_le_bytes());
            wide.extend(self.len.to_le_bytes());
        }
        if self.header >= FULL {
            wide.extend(self.header.to_le_bytes());
        }
        let mut header = Vec::new();
        header.extend(b"PK\x01\x02");
        header.extend(VERSION.to_le_bytes());
        header.extend(VERSION.to_le_bytes());
        header.extend(UTF8.to_le_bytes());
        header.extend([0, 0, 0, 0]);
        header.extend(DATE.to_le_bytes());
        header.extend(crc.to_le_bytes());
        header.extend(self.narrow_len().to_le_bytes());
        header.extend(self.narrow_len().to_le_bytes());
        header.extend((self.name.len() as u16).to_le_bytes());
        header.extend((if wide.is_empty() { 0 } else { wide.len() as u16 + 4 }).to_le_bytes());
        header.extend([0; 10]); // comment, disk, attributes
        header.extend((self.header.min(FULL) as u32).to_le_bytes());
        header.extend(self.name.as_bytes());
        if !wide.is_empty() {
            header.extend([1, 0]);
            header.extend((wide.len() as u16).to_le_bytes());
            header.extend(wide);
        }
        header
    }

    fn narrow_len(&self) -> u32 {
        self.len.min(FULL) as u32
    }
}

/// The zip64 end record, its locator and the end record; PyTorch always writes all three.
fn end_records(count: u64, size: u64, start: u64) -> Vec<u8> {
    let mut end = Vec::new();
    end.extend(b"PK\x06\x06");
    end.extend(44_u64.to_le_bytes());
    end.extend(VERSION.to_le_bytes());
    end.extend(VERSION.to_le_bytes());
    end.extend([0; 8]);
    end.extend(count.to_le_bytes());
    end.extend(count.to_le_bytes());
    end.extend(size.to_le_bytes());
    end.extend(start.to_le_bytes());

    end.extend(b"PK\x06\x07");
    end.extend([0; 4]);
    end.extend((start + size).to_le_bytes());
    end.extend(1_u32.to_le_bytes());

    let narrow_count = count.min(0xffff) as u16;
    end.extend(b"PK\x05\x06");
    end.extend([0; 4]);
    end.extend(narrow_count.to_le_bytes());
    end.extend(narrow_count.to_le_bytes());
    end.extend((size.min(FULL) as u32).to_le_bytes());
    end.extend((start.min(FULL) as u32).to_le_bytes());
    end.extend([0; 2]);
    end
}
