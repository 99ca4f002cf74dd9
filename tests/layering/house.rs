//! The order, as data.

/// A room, the rooms of its crate that it may use and the crates of the workspace that it may use.
pub struct Room {
    pub name: &'static str,
    pub rooms: &'static [&'static str],
    pub crates: &'static [&'static str],
}

const fn room(name: &'static str, rooms: &'static [&'static str], crates: &'static [&'static str]) -> Room {
    Room { name, rooms, crates }
}

/// Crates in their order, each with those before it that it may depend on.
pub const CRATES: &[(&str, &[&str])] = &[
    ("files", &[]),
    ("converters", &["files"]),
    ("network", &[]),
    ("engine", &["network"]),
    ("vision", &["files"]),
    ("port", &["files", "converters", "network", "engine", "vision"]),
    ("port_cli", &["files", "converters", "network", "engine", "vision", "port"]),
];

/// Rooms in their order, by crate.
pub const ROOMS: &[(&str, &[Room])] = &[
    (
        "network",
        &[room("element", &[], &[]), room("graph", &["element"], &[]), room("models", &["graph"], &[])],
    ),
    (
        "vision",
        &[
            room("annotations", &[], &["files"]),
            room("pictures", &[], &["files"]),
            room("boxes", &["pictures"], &["files"]),
            room("data", &["annotations", "pictures", "boxes"], &["files"]),
            room("eval", &["annotations", "boxes"], &["files"]),
        ],
    ),
    (
        "port",
        &[
            room("mapping", &[], &["files", "converters"]),
            room("identify", &["mapping"], &["files", "converters", "network"]),
            room("detect", &[], &["files", "converters", "network", "engine", "vision"]),
            room("verify", &["identify", "detect"], &["files", "converters", "network", "engine"]),
            room("bench", &[], &["files", "network", "engine"]),
        ],
    ),
];

/// What a crate may never be built from, itself or by a crate of the workspace: beginnings of names.
pub const BANNED: &[(&str, &[&str])] = &[
    // It reads files from anywhere: nothing that computes, nothing that is slow on hostile text.
    ("converters", &["candle", "regex", "port"]),
    ("vision", &["candle"]),
    ("network", &["candle"]),
    // A library does not read arguments or draw bars.
    ("port", &["clap", "indicatif", "anyhow"]),
];

/// Circles that are known and are to fall: crate, folder that all files of the circle lie in, and why it is there.
pub const KNOWN: &[(&str, &str, &str)] = &[(
    "engine",
    "lower/",
    "steps list the kinds of kernels, and each kind says how its steps are run and walked back",
)];
