//! What odd objects in pickles mean: files made by hand, opcode by opcode.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)] // a failing test may panic

use std::io::Write;
use std::path::Path;

use converters::{Checkpoint, ErrorClass, Result, open_bytes};

fn open(pickle: &[&[u8]]) -> Result<Checkpoint> {
    open_bytes("made.pkl", pickle.concat())
}

fn names(checkpoint: &Checkpoint) -> Vec<&str> {
    checkpoint.tensors().iter().map(converters::Tensor::name).collect()
}

/// The opcodes of a dictionary `{'model': {...three arrays...}, ...}`, without protocol and STOP.
fn arrays() -> Vec<u8> {
    let path = "../tests/data/formats/numpy/detectron2_p2.pkl";
    let file = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    file[2..file.len() - 1].to_vec()
}

/// An instance of a class that exists nowhere, without its state.
const INSTANCE: &[u8] = b"cvanished.lib\nThing\n)\x81";

#[test]
fn a_state_that_is_no_dictionary_is_searched_for_tensors() {
    // state = [ {...} ]
    let checkpoint = open(&[b"\x80\x02", INSTANCE, b"](", &arrays(), b"eb."]).unwrap();
    assert_eq!(names(&checkpoint)[1], "state.0.model.pixel_mean");
    // A pair that is no pair of dictionaries.
    let checkpoint = open(&[b"\x80\x02", INSTANCE, b"K\x01", &arrays(), b"\x86b."]).unwrap();
    assert_eq!(names(&checkpoint)[1], "state.1.model.pixel_mean");
}

/// The package addict, whose dictionaries are in many detectors' settings, does this.
#[test]
fn an_instance_may_be_its_own_state() {
    let own_state = [INSTANCE, b"q\0(", &text("kind"), &text("BN"), b"uh\0b"].concat();
    let checkpoint = open(&[b"\x80\x02](", &arrays(), &own_state, b"e."]).unwrap();
    let settings = checkpoint.document().get(&converters::Key::Index(1)).unwrap();
    let kind = settings.get(&converters::Key::Text("kind".to_owned()));
    assert_eq!(kind, Some(&converters::Value::Text("BN".to_owned())));
}

#[test]
fn slots_are_attributes() {
    let checkpoint = open(&[b"\x80\x02", INSTANCE, b"N", &arrays(), b"\x86b."]).unwrap();
    assert_eq!(names(&checkpoint)[1], "model.pixel_mean");
}

#[test]
fn objects_of_protocol_0_are_made_by_a_reconstructor() {
    let call = b"ccopy_reg\n_reconstructor\n(cvanished.lib\nThing\nc__builtin__\nobject\nNtR";
    let checkpoint = open(&[b"\x80\x02", call, &arrays(), b"b."]).unwrap();
    assert_eq!(names(&checkpoint)[1], "model.pixel_mean");
    assert!(checkpoint.globals().iter().any(|global| global.name == "vanished.lib.Thing" && global.opaque));
}

/// Python's default codec is UTF-8; bytes are always written with latin-1 named.
#[test]
fn encoded_bytes_name_their_codec() {
    let text = b"(X\x01\x00\x00\x00btR";
    let refused = open(&[b"\x80\x02](", &arrays(), b"c_codecs\nencode\n", text, b"e."]).unwrap_err();
    assert_eq!(refused.class(), ErrorClass::Corrupt, "{refused}");
}

#[test]
fn the_last_value_of_a_repeated_key_counts() {
    let (first, second) = (arrays(), b"K\x07");
    let key = b"X\x01\x00\x00\x00k";
    let refused = open(&[b"\x80\x02}(", key, &first, key, second, b"u."]).unwrap_err();
    assert_eq!(refused.class(), ErrorClass::NoTensors);
    let checkpoint = open(&[b"\x80\x02}(", key, second, key, &first, b"u."]).unwrap();
    assert_eq!(names(&checkpoint)[1], "k.model.pixel_mean");
}

/// A PyTorch archive of one compressed storage of `len` zeros and `views` views of it, one byte each.
fn compressed(len: usize, views: usize) -> Vec<u8> {
    let mut pickle = b"\x80\x02}(".to_vec();
    for view in 0..views {
        let name = view.to_string();
        pickle.extend([b"X", &(name.len() as u32).to_le_bytes()[..], name.as_bytes()].concat());
        pickle.extend(
            b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nByteStorage\nX\x01\0\0\0",
        );
        pickle.extend(b"0X\x03\0\0\0cpuJ");
        pickle.extend((len as u32).to_le_bytes());
        pickle.extend(b"tQK\0K\x01\x85K\x01\x85\x89NtR");
    }
    pickle.extend(b"u.");
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    archive.start_file("archive/data.pkl", stored).unwrap();
    archive.write_all(&pickle).unwrap();
    archive
        .start_file("archive/data/0", stored.compression_method(zip::CompressionMethod::Deflated))
        .unwrap();
    archive.write_all(&vec![0; len]).unwrap();
    archive.finish().unwrap().into_inner()
}

/// Every view inflates its record again: a small file could keep a reader busy for minutes.
#[test]
fn views_of_a_compressed_record_are_limited() {
    let checkpoint = open_bytes("few.pth", compressed(1 << 20, 100)).unwrap();
    assert_eq!(checkpoint.tensors()[99].bytes().unwrap(), [0]);
    let refused = open_bytes("many.pth", compressed(1 << 20, 300)).unwrap_err();
    assert_eq!(refused.class(), ErrorClass::Limit, "{refused}");
}

/// Python 3.8 and later write byte arrays at protocol 2 as a call around a call.
#[test]
fn byte_arrays_of_protocol_2_are_bytes() {
    let call = b"c__builtin__\nbytearray\n(c_codecs\nencode\n(X\x02\0\0\0\xc3\xbfX\x06\0\0\0latin1tRtR";
    let checkpoint = open(&[b"\x80\x02](", &arrays(), call, b"e."]).unwrap();
    let found = checkpoint.document().get(&converters::Key::Index(1)).cloned();
    assert_eq!(found, Some(converters::Value::Bytes(vec![0xff].into())));
}

/// A module of PyTorch, `vanished.lib.Thing`, with these opcodes of `key, value` pairs in its dictionary.
fn module(fields: &[&[u8]]) -> Vec<u8> {
    [INSTANCE, b"}(", &fields.concat(), b"ub"].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[b'X', text.len() as u8, 0, 0, 0], text.as_bytes()].concat()
}

/// Nothing that a module holds is lost without a word, wherever it stands.
#[test]
fn tensors_of_modules_are_read_or_named() {
    let holder = [INSTANCE, b"}(", &text("held")[..], &arrays(), b"ub"].concat();
    let inner = module(&[
        &text("_parameters"),
        b"}",
        &text("_modules"),
        b"}",
        &text("extra"),
        &arrays(),
        &text("_private"),
        &arrays(),
    ]);
    let outer = module(&[
        &text("_parameters"),
        b"}(",
        &text("odd"),
        &holder,
        b"u",
        &text("_modules"),
        b"}(",
        &text("inner"),
        &inner,
        &text("stray"),
        &holder,
        b"u",
        &text("names"),
        b"](",
        &text("cat"),
        b"e",
    ]);
    let checkpoint = open(&[b"\x80\x02", &outer, b"."]).unwrap();
    let names = names(&checkpoint);
    assert!(names.contains(&"odd.held.model.pixel_mean"), "{names:?}");
    assert!(names.contains(&"stray.held.model.pixel_mean"), "{names:?}");
    let notes: Vec<_> = checkpoint.notes().iter().map(|note| &*note.name).collect();
    assert_eq!(notes, ["inner.extra", "inner._private"]);
}
