//! The kinds of checkpoint file.

use std::fmt;

/// What a file is, by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// The zip archive that `torch.save` writes since PyTorch 1.6.
    TorchZip,
    /// The stream of pickles that `torch.save` wrote before 1.6.
    TorchLegacy,
    /// The tar archive of PyTorch 0.1.
    TorchTar,
    /// A zip archive with compiled code beside the weights.
    TorchScript,
    /// A pickle with Jittor's SHA-1 trailer.
    JittorPickle,
    /// A pickle without trailer: numpy arrays in dictionaries.
    Pickle,
    /// One numpy array.
    Npy,
    /// A zip archive of numpy arrays.
    Npz,
    /// A safetensors file.
    Safetensors,
    /// The JSON index of several safetensors files.
    SafetensorsIndex,
    /// An ONNX model, its tensors inside.
    Onnx,
    /// An ONNX model with tensors in other files.
    OnnxExternal,
}

impl Format {
    /// The name that `port inspect` prints.
    pub const fn name(self) -> &'static str {
        match self {
            Format::TorchZip => "torch-zip",
            Format::TorchLegacy => "torch-legacy",
            Format::TorchTar => "torch-tar",
            Format::TorchScript => "torchscript",
            Format::JittorPickle => "jittor-pkl",
            Format::Pickle => "pickle",
            Format::Npy => "npy",
            Format::Npz => "npz",
            Format::Safetensors => "safetensors",
            Format::SafetensorsIndex => "safetensors-index",
            Format::Onnx => "onnx",
            Format::OnnxExternal => "onnx-external",
        }
    }

    /// The framework that writes such files.
    pub const fn framework(self) -> &'static str {
        match self {
            Format::TorchZip | Format::TorchLegacy | Format::TorchTar | Format::TorchScript => "PyTorch",
            Format::JittorPickle => "Jittor",
            Format::Pickle | Format::Npy | Format::Npz => "numpy",
            Format::Safetensors | Format::SafetensorsIndex => "safetensors",
            Format::Onnx | Format::OnnxExternal => "ONNX",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
