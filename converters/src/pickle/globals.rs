//! Which classes and functions a pickle may name, and what each means to the reader.
//!
//! Nothing is ever called, so no name can do harm here. A name that could do harm elsewhere is refused all the
//! same: the file is not what it claims to be, and its next reader may be Python.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::dtype::Dtype;

/// What the reader makes of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// Other dictionaries: `collections.defaultdict` (first argument is its factory), `Counter`.
    Dict,
    /// `set`, `frozenset`.
    Set,
    /// `list`, `collections.deque`.
    List,
    /// `tuple`, `torch.Size`.
    Tuple,
    /// `bytes`, `bytearray`.
    Bytes,
    /// `_codecs.encode(text, 'latin1')`: byte strings at protocol 2.
    Encode,
    /// `torch.FloatStorage` and the like: elements of one type.
    TypedStorage(Dtype),
    /// `torch.storage.UntypedStorage`: bytes.
    UntypedStorage,
    /// A storage of a type that is not read, such as `torch.QInt8Storage`.
    OtherStorage,
    /// `torch.FloatTensor` and the like, in files of PyTorch 0.1.
    LegacyTensor,
    /// `torch.float32` and the like.
    TorchDtype(Dtype),
    /// `torch._utils._rebuild_tensor`, four arguments, and `_rebuild_tensor_v2`, six or seven.
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v3`: the element type is the seventh argument.
    RebuildTensorV3,
    /// `torch._utils._rebuild_parameter` and `_rebuild_parameter_with_state`: the first argument is the tensor.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2(function, type, arguments, state)`.
    RebuildFromType,
    /// `torch._utils._rebuild_meta_tensor_no_storage`: a tensor without data.
    RebuildMeta,
    /// A tensor of a kind that is not read: quantized, sparse, nested.
    RebuildOther,
    /// `torch.jit._pickle.build_intlist` and the like: the argument is a list.
    BuildList,
    /// `numpy._core.multiarray._reconstruct`: an empty array that BUILD fills.
    NumpyReconstruct,
    /// `numpy._core.numeric._frombuffer`.
    NumpyFromBuffer,
    /// `numpy._core.multiarray.scalar`.
    NumpyScalar,
    /// `numpy.dtype`.
    NumpyDtype,
    /// `jittor_core.Var`: the argument is a numpy array.
    JittorVar,
    /// `copyreg._reconstructor(class, base, state)`: objects at protocols 0 and 1.
    Reconstructor,
    /// A harmless class or function of Python, PyTorch, numpy or Jittor.
    Inert,
    /// A class of a package that the reader does not know.
    Unknown,
}

/// Top-level modules of Python itself, of versions 2 and 3.
static PYTHON_MODULES: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("python_modules.txt").split_whitespace().collect());

/// Packages whose functions run or install code; none of their classes belongs into a checkpoint.
const CODE_RUNNERS: [&str; 6] =
    ["pip", "setuptools", "pkg_resources", "_distutils_hack", "dill", "cloudpickle"];

/// What `module.name` means, or `None` when no checkpoint needs it.
pub(crate) fn meaning(module: &str, name: &str) -> Option<Meaning> {
    if name.split('.').chain(module.split('.')).any(is_internal) {
        return None;
    }
    let package = module.split('.').next().unwrap_or(module);
    match package {
        "torch" => torch(module, name),
        "numpy" => numpy(module, name),
        // jittor's own names for Var include a dotted one: ("jittor", "jittor_core.Var").
        "jittor" | "jittor_core" if matches!(name, "Var" | "jittor_core.Var") => Some(Meaning::JittorVar),
        _ if PYTHON_MODULES.contains(package) => python(module, name),
        _ if CODE_RUNNERS.contains(&package) => None,
        _ => Some(Meaning::Unknown),
    }
}

/// `__globals__` and the like: steps from a harmless object to a harmful one. `__torch__` is the root of
/// TorchScript's class names, `__main__` that of a user's script.
fn is_internal(step: &str) -> bool {
    step.starts_with("__")
        && !matches!(step, "__torch__" | "__main__" | "__builtin__" | "__builtins__")
        && !step.starts_with("___torch_mangle_")
}

fn python(module: &str, name: &str) -> Option<Meaning> {
    match (module, name) {
        ("collections", "OrderedDict") => Some(Meaning::OrderedDict),
        ("collections", "defaultdict" | "Counter") => Some(Meaning::Dict),
        ("collections", "deque") => Some(Meaning::List),
        ("builtins" | "__builtin__", name) => builtin(name),
        ("_codecs", "encode") => Some(Meaning::Encode),
        ("copyreg" | "copy_reg", "_reconstructor") => Some(Meaning::Reconstructor),
        ("datetime", "datetime" | "date" | "time" | "timedelta" | "timezone")
        | ("decimal", "Decimal")
        | ("fractions", "Fraction")
        | ("uuid", "UUID")
        | ("argparse" | "types", "Namespace" | "SimpleNamespace")
        | ("typing", _) => Some(Meaning::Inert),
        ("pathlib" | "pathlib._local", name) if name.ends_with("Path") => Some(Meaning::Inert),
        _ => None,
    }
}

fn builtin(name: &str) -> Option<Meaning> {
    match name {
        "set" | "frozenset" => Some(Meaning::Set),
        "list" => Some(Meaning::List),
        "tuple" => Some(Meaning::Tuple),
        "dict" => Some(Meaning::Dict),
        "bytes" | "bytearray" => Some(Meaning::Bytes),
        "slice" | "complex" | "object" | "int" | "long" | "float" | "str" | "unicode" | "bool" | "range" => {
            Some(Meaning::Inert)
        }
        _ => None,
    }
}

fn torch(module: &str, name: &str) -> Option<Meaning> {
    match (module, name) {
        ("torch", "Size") => Some(Meaning::Tuple),
        ("torch", "device" | "Tensor" | "per_tensor_affine" | "per_channel_affine") => Some(Meaning::Inert),
        ("torch" | "torch.cuda" | "torch.storage", name) if name.ends_with("Storage") => Some(storage(name)),
        ("torch" | "torch.cuda", name) if name.ends_with("Tensor") => Some(Meaning::LegacyTensor),
        ("torch", name) if OTHER_CONSTANTS.contains(&name) => Some(Meaning::Inert),
        ("torch.torch_version", "TorchVersion") => Some(Meaning::Inert),
        ("torch", name) => dtype(name).map(Meaning::TorchDtype),
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Meaning::RebuildTensor),
        ("torch._utils", "_rebuild_tensor_v3") => Some(Meaning::RebuildTensorV3),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
            Some(Meaning::RebuildParameter)
        }
        ("torch._utils", "_rebuild_meta_tensor_no_storage") => Some(Meaning::RebuildMeta),
        ("torch._utils", name) if name.starts_with("_rebuild_") => Some(Meaning::RebuildOther),
        ("torch._tensor", "_rebuild_from_type_v2") => Some(Meaning::RebuildFromType),
        ("torch.serialization", "_get_layout") => Some(Meaning::Inert),
        ("torch.jit._pickle", name) if name.starts_with("build_") && name.ends_with("list") => {
            Some(Meaning::BuildList)
        }
        // Activation functions kept as attributes of modules.
        ("torch.nn.functional" | "torch._C._nn", name) if is_plain(name) => Some(Meaning::Inert),
        (module, name) if is_class(name) && has_classes(module) => Some(Meaning::Inert),
        _ => None,
    }
}

/// Element types that are not read, memory formats and layouts.
const OTHER_CONSTANTS: [&str; 20] = [
    "float8_e4m3fnuz",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float4_e2m1fn_x2",
    "complex32",
    "chalf",
    "qint8",
    "quint8",
    "qint32",
    "quint4x2",
    "quint2x4",
    "bits8",
    "bits16",
    "channels_last",
    "channels_last_3d",
    "contiguous_format",
    "preserve_format",
    "strided",
    "sparse_coo",
    "sparse_csr",
];

/// Parts of PyTorch whose classes appear in pickled modules and optimisers.
fn has_classes(module: &str) -> bool {
    ["torch.nn", "torch.optim", "torch.ao", "torch.quantization", "torch.amp", "torch.cuda.amp"]
        .iter()
        .any(|part| module.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Class names of PyTorch are in camel case, `_BatchNorm` included; functions are not.
fn is_class(name: &str) -> bool {
    is_plain(name) && name.trim_start_matches('_').starts_with(|c: char| c.is_ascii_uppercase())
}

fn is_plain(name: &str) -> bool {
    !name.contains('.')
}

fn storage(name: &str) -> Meaning {
    let dtype = match name {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::Bf16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::Bool,
        "ComplexFloatStorage" => Dtype::C64,
        "ComplexDoubleStorage" => Dtype::C128,
        "UntypedStorage" => return Meaning::UntypedStorage,
        _ => return Meaning::OtherStorage,
    };
    Meaning::TypedStorage(dtype)
}

/// The element type that PyTorch calls `torch.NAME`.
fn dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "float64" | "double" => Dtype::F64,
        "float32" | "float" => Dtype::F32,
        "float16" | "half" => Dtype::F16,
        "bfloat16" => Dtype::Bf16,
        "float8_e4m3fn" => Dtype::F8E4M3,
        "float8_e5m2" => Dtype::F8E5M2,
        "int64" | "long" => Dtype::I64,
        "int32" | "int" => Dtype::I32,
        "int16" | "short" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint64" => Dtype::U64,
        "uint32" => Dtype::U32,
        "uint16" => Dtype::U16,
        "uint8" => Dtype::U8,
        "bool" => Dtype::Bool,
        "complex64" | "cfloat" => Dtype::C64,
        "complex128" | "cdouble" => Dtype::C128,
        _ => return None,
    })
}

fn numpy(module: &str, name: &str) -> Option<Meaning> {
    // numpy 2 renamed numpy.core to numpy._core.
    let module = module.replacen("numpy._core", "numpy.core", 1);
    match (&*module, name) {
        ("numpy.core.multiarray", "_reconstruct") => Some(Meaning::NumpyReconstruct),
        ("numpy.core.multiarray", "scalar") => Some(Meaning::NumpyScalar),
        ("numpy.core.numeric", "_frombuffer") => Some(Meaning::NumpyFromBuffer),
        ("numpy", "dtype") => Some(Meaning::NumpyDtype),
        ("numpy", "ndarray") => Some(Meaning::Inert),
        ("numpy.dtypes", name) if name.ends_with("DType") => Some(Meaning::Inert),
        // Scalar types, as in `dtype=np.float32` kept in a configuration.
        ("numpy", name) if SCALAR_TYPES.contains(&name) => Some(Meaning::Inert),
        _ => None,
    }
}

const SCALAR_TYPES: [&str; 17] = [
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool_",
    "bool",
    "complex64",
    "complex128",
    "str_",
    "bytes_",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_code_is_refused() {
        for (module, name) in [
            ("os", "system"),
            ("nt", "system"),
            ("builtins", "eval"),
            ("__builtin__", "getattr"),
            ("functools", "partial"),
            ("pip._internal.cli.main", "main"),
            ("torch", "load"),
            ("torch.hub", "load"),
            ("torch.storage", "_load_from_bytes"),
            ("torch.utils.cpp_extension", "load_inline"),
            ("numpy.testing._private.utils", "runstring"),
            ("collections", "OrderedDict.__init__.__globals__"),
            ("anything", "Class.__subclasses__"),
        ] {
            assert_eq!(meaning(module, name), None, "{module}.{name}");
        }
    }

    #[test]
    fn what_checkpoints_name_is_known() {
        assert_eq!(meaning("torch", "BFloat16Storage"), Some(Meaning::TypedStorage(Dtype::Bf16)));
        assert_eq!(meaning("torch", "float8_e5m2"), Some(Meaning::TorchDtype(Dtype::F8E5M2)));
        assert_eq!(meaning("numpy._core.multiarray", "_reconstruct"), Some(Meaning::NumpyReconstruct));
        assert_eq!(meaning("numpy.core.multiarray", "_reconstruct"), Some(Meaning::NumpyReconstruct));
        assert_eq!(meaning("jittor", "jittor_core.Var"), Some(Meaning::JittorVar));
        assert_eq!(meaning("torch.nn.modules.batchnorm", "_BatchNorm"), Some(Meaning::Inert));
        assert_eq!(meaning("torch.nn.functional", "adaptive_avg_pool2d"), Some(Meaning::Inert));
        assert_eq!(meaning("yolov6.models.yolo", "Model"), Some(Meaning::Unknown));
        assert_eq!(
            meaning("__torch__.torch.nn.modules.conv.___torch_mangle_0", "Conv2d"),
            Some(Meaning::Unknown)
        );
    }
}
