//! The formats that can be written.

use crate::dtype::Dtype;

/// A format to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// One safetensors file.
    Safetensors,
    /// A PyTorch zip archive.
    Torch,
    /// A Jittor pickle.
    Jittor,
    /// A numpy archive.
    Npz,
}

impl Target {
    /// The format's name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Target::Safetensors => "safetensors",
            Target::Torch => "pth",
            Target::Jittor => "pkl",
            Target::Npz => "npz",
        }
    }

    /// The extension of such files.
    pub const fn extension(self) -> &'static str {
        self.name()
    }

    /// Whether the format has this element type.
    pub fn holds(self, dtype: Dtype) -> bool {
        match self {
            Target::Torch => true,
            Target::Safetensors => crate::safetensors::header::dtype_name(dtype).is_some(),
            Target::Jittor | Target::Npz => crate::numpy::dtype::descr(dtype).is_some(),
        }
    }

    /// What files of this format are called where they have no place for the metadata of a file.
    pub(super) const fn without_metadata(self) -> Option<&'static str> {
        match self {
            Target::Safetensors => None,
            Target::Torch => Some("a PyTorch archive"),
            Target::Jittor => Some("a pickle"),
            Target::Npz => Some("a numpy archive"),
        }
    }
}
