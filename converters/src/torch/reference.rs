//! Persistent references: `('storage', class, key, location, elements)`.

use crate::dtype::Dtype;
use crate::error::Problem;
use crate::pickle::Pickle;
use crate::pickle::globals::Meaning;
use crate::pickle::node::{Id, Node};

/// A reference to a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StorageReference {
    /// Text or, in files of Jittor, a number.
    pub(super) key: String,
    /// `None` for `UntypedStorage`, whose element count is in bytes.
    pub(super) dtype: Option<Dtype>,
    /// Number of elements.
    pub(super) elements: u64,
    /// First element and number of elements of a view, in files before PyTorch 0.4.
    pub(super) window: Option<(u64, u64)>,
}

impl StorageReference {
    /// Reads the reference at node `id`. `arities` are the tuple lengths that the container uses.
    ///
    /// # Errors
    /// When it is anything but a reference to a storage of a known element type.
    pub(super) fn read(pickle: &Pickle, id: Id, arities: &[usize]) -> Result<StorageReference, Problem> {
        let place = "a persistent reference";
        let corrupt = |rule| Problem::malformed(place, rule);
        let items = pickle.tuple(id);
        if !arities.contains(&items.len()) {
            return Err(corrupt("it is no tuple of the right length"));
        }
        let &[tag, class, key, _location, elements, ref view @ ..] = items else {
            return Err(corrupt("it is no tuple of the right length"));
        };
        if pickle.node(tag).text().as_deref() != Some("storage") {
            return Err(corrupt("it does not refer to a storage"));
        }
        let key =
            key_text(pickle, key).ok_or_else(|| corrupt("its key is neither short text nor a number"))?;
        let dtype = dtype(pickle, class, &key)?;
        let elements = pickle.node(elements).int().and_then(|count| u64::try_from(count).ok());
        let elements = elements.ok_or_else(|| corrupt("its element count is no count"))?;
        let window = match view.first().map(|view| (pickle.node(*view), pickle.tuple(*view))) {
            None | Some((Node::None, _)) => None,
            Some((_, &[_, offset, size])) => {
                let number = |id| pickle.node(id).int().and_then(|number| u64::try_from(number).ok());
                let window = number(offset).zip(number(size));
                Some(window.ok_or_else(|| corrupt("its view is no pair of counts"))?)
            }
            Some(_) => return Err(corrupt("its view is no tuple of three")),
        };
        Ok(StorageReference { key, dtype, elements, window })
    }

    /// Bytes of the whole storage, or `None` on overflow.
    pub(super) fn byte_len(&self) -> Option<u64> {
        self.elements.checked_mul(self.dtype.map_or(1, Dtype::size) as u64)
    }
}

/// Longest storage key: they are numbers, of PyTorch's counters or of pointers.
const MAX_KEY: usize = 1024;

/// A storage key as text.
pub(super) fn key_text(pickle: &Pickle, id: Id) -> Option<String> {
    match pickle.node(id) {
        Node::Int(number) => Some(number.to_string()),
        Node::Text(text) | Node::ByteString(text) if text.len() > MAX_KEY => None,
        other => other.text().map(|text| text.into_owned()),
    }
}

/// The element type of a storage class; `None` for untyped bytes.
pub(super) fn dtype(pickle: &Pickle, class: Id, key: &str) -> Result<Option<Dtype>, Problem> {
    let place = format!("storage `{key}`");
    match pickle.meaning(class) {
        Some(Meaning::TypedStorage(dtype)) => Ok(Some(dtype)),
        Some(Meaning::UntypedStorage) => Ok(None),
        Some(Meaning::OtherStorage) => {
            let name = pickle.global(class).map_or("its class", |global| &global.name);
            Err(Problem::unsupported(place, format!("the element type of {name}"), SAVE_FLOAT))
        }
        _ => Err(Problem::malformed(place, "its class is no storage class")),
    }
}

const SAVE_FLOAT: &str =
    "convert the tensor to a common type (for instance x.dequantize(), x.float()) and save again";
