//! One tensor of a checkpoint: name, element type, shape, and a view of the bytes that are read when asked for.

use std::hash::Hash;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cast::{CastReport, Caster};
use crate::dtype::Dtype;
use crate::error::{Error, Problem, Result};
use crate::limits;
use crate::storage::{CHUNK, Sink, Storage};
use crate::value::{Key, join};

/// A named tensor. Its bytes stay in the file until they are read.
#[derive(Debug, Clone)]
pub struct Tensor {
    name: String,
    path: Vec<Key>,
    view: View,
}

impl Tensor {
    pub(crate) fn new(path: Vec<Key>, view: View) -> Self {
        Tensor { name: join(&path), path, view }
    }

    /// The same tensor under another path.
    pub(crate) fn at(&self, path: Vec<Key>) -> Tensor {
        Tensor::new(path, self.view.clone())
    }

    /// What its bytes are and in which order.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// The flat name: the path joined with dots.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The steps from the root of the file to the tensor.
    pub fn path(&self) -> &[Key] {
        &self.path
    }

    /// The element type.
    pub fn dtype(&self) -> Dtype {
        self.view.dtype
    }

    /// The size of each dimension, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.view.shape
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.view.elements()
    }

    /// Number of bytes when written row-major.
    pub fn byte_len(&self) -> u64 {
        self.view.byte_len()
    }

    /// Whether both tensors are views of one storage, tied weights for instance.
    pub fn shares_storage(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.view.storage, &other.view.storage)
    }

    /// Which elements of which storage in which order: equal for tied weights.
    pub(crate) fn identity(&self) -> impl Eq + Hash + '_ {
        let View { storage: _, dtype, shape, strides, start, change } = &self.view;
        (self.storage_id(), dtype, shape, strides, start, change)
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.view.storage
    }

    /// A number that tensors of one storage have in common.
    pub(crate) fn storage_id(&self) -> usize {
        Arc::as_ptr(&self.view.storage).addr()
    }

    /// The file that holds the bytes: for sharded and external data not the file that was opened.
    pub fn file(&self) -> &Path {
        self.view.storage.file()
    }

    /// Hands the row-major little-endian bytes to `sink`, in chunks of whole elements. The record's checksum,
    /// if it has one, is verified first.
    ///
    /// # Errors
    /// When the record is damaged, and whatever `sink` returns.
    pub fn read(&self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.view.read(&mut |chunk| sink(chunk).map_err(ReadEnd::Sink)).map_err(|end| match end {
            ReadEnd::Sink(error) => error,
            ReadEnd::Source(problem) => Error::new(self.file(), problem),
        })
    }

    /// Like [`Tensor::read`], with every element cast to `dtype`. Only real floating-point tensors are cast,
    /// others pass unchanged; [`Tensor::dtype_as`] tells which type comes out.
    ///
    /// # Errors
    /// As [`Tensor::read`].
    pub fn read_as(&self, dtype: Dtype, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<CastReport> {
        let target = self.dtype_as(dtype);
        if target == self.dtype() {
            return self.read(sink).map(|()| CastReport::default());
        }
        let mut caster = Caster::new(self.dtype(), target);
        self.read(&mut |chunk| sink(caster.cast(chunk)))?;
        Ok(caster.report())
    }

    /// The element type that a cast to `dtype` gives: `dtype` for floating-point tensors, else its own.
    pub fn dtype_as(&self, dtype: Dtype) -> Dtype {
        if self.dtype().is_float() { dtype } else { self.dtype() }
    }

    /// All row-major little-endian bytes, in memory.
    ///
    /// # Errors
    /// When the record is damaged.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        self.read(&mut |chunk| {
            all.extend_from_slice(chunk);
            Ok(())
        })?;
        Ok(all)
    }

    /// Verifies the checksum of the record that holds the bytes.
    ///
    /// # Errors
    /// [`Problem::Checksum`].
    pub fn verify(&self) -> Result<()> {
        self.view.storage.verify().map_err(|problem| Error::new(self.file(), problem))
    }
}

/// Taken by the thread that holds an inflated storage in memory.
static INFLATED: Mutex<()> = Mutex::new(());

/// Why reading a tensor ended early: the bytes are bad, or their receiver failed.
enum ReadEnd {
    Source(Problem),
    Sink(Error),
}

impl From<Problem> for ReadEnd {
    fn from(problem: Problem) -> Self {
        ReadEnd::Source(problem)
    }
}

/// What is done to each element after it is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Change {
    /// Words are stored most significant byte first.
    pub(crate) swap: bool,
    /// The sign of the imaginary part is flipped (PyTorch's conjugate bit).
    pub(crate) conjugate: bool,
    /// The sign is flipped (PyTorch's negative bit).
    pub(crate) negate: bool,
}

/// Elements of a storage in the order of a shape and strides.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) storage: Arc<Storage>,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// In elements. Row-major views have the strides of their shape.
    pub(crate) strides: Vec<u64>,
    /// First element, in bytes from the start of the storage.
    pub(crate) start: u64,
    change: Change,
}

impl View {
    /// A row-major view of everything from byte `start` of `storage` to its end.
    ///
    /// # Errors
    /// When that is not exactly the bytes of `shape`.
    pub(crate) fn whole(
        place: &str,
        storage: Arc<Storage>,
        start: u64,
        dtype: Dtype,
        shape: Vec<usize>,
        change: Change,
    ) -> std::result::Result<View, Problem> {
        let needs = byte_len(place, dtype, &shape)?;
        let has = storage.len().saturating_sub(start);
        if needs != has {
            return Err(Problem::Contradiction {
                place: place.to_owned(),
                says: format!("{dtype} {shape:?}, {needs} bytes"),
                but: format!("it has {has}"),
            });
        }
        let strides = row_major(&shape);
        Ok(View { storage, dtype, shape, strides, start, change })
    }

    /// A strided view; `start` and `strides` count elements.
    ///
    /// # Errors
    /// When any element lies outside the storage, or repeats make the view unreasonably large.
    pub(crate) fn strided(
        place: &str,
        storage: Arc<Storage>,
        dtype: Dtype,
        shape: Vec<usize>,
        strides: Vec<u64>,
        start: u64,
        change: Change,
    ) -> std::result::Result<View, Problem> {
        let size = byte_len(place, dtype, &shape)?;
        if strides.len() != shape.len() {
            return Err(Problem::Contradiction {
                place: place.to_owned(),
                says: format!("{} dimensions", shape.len()),
                but: format!("there are {} strides", strides.len()),
            });
        }
        let end = last_element(&shape, &strides, start).and_then(|end| end.checked_mul(dtype.size() as u64));
        if end.is_none_or(|end| end > storage.len()) {
            return Err(Problem::OutOfRange {
                place: place.to_owned(),
                reach: format!(
                    "{dtype} {shape:?} with strides {strides:?} from element {start} of {}, which has {} bytes",
                    storage.place(),
                    storage.len()
                ),
            });
        }
        let allowed = storage.len().saturating_mul(limits::MAX_EXPANSION).max(limits::MAX_EXPANDED_BYTES);
        if size > allowed {
            return Err(Problem::Limit {
                place: place.to_owned(),
                what: format!("{size} bytes of repeated elements out of a storage of {}", storage.len()),
                limit: allowed,
            });
        }
        let start = start * dtype.size() as u64;
        Ok(View { storage, dtype, shape, strides, start, change })
    }

    /// Like [`View::whole`], but the first index varies fastest.
    ///
    /// # Errors
    /// As [`View::whole`].
    pub(crate) fn column_major(
        place: &str,
        storage: Arc<Storage>,
        start: u64,
        dtype: Dtype,
        shape: Vec<usize>,
        change: Change,
    ) -> std::result::Result<View, Problem> {
        let reversed: Vec<usize> = shape.iter().rev().copied().collect();
        let mut view = View::whole(place, storage, start, dtype, reversed, change)?;
        view.shape.reverse();
        view.strides.reverse();
        Ok(view)
    }

    /// Memory that a copy takes beside its own structure.
    pub(crate) fn memory(&self) -> usize {
        size_of_val(&*self.shape) + size_of_val(&*self.strides)
    }

    pub(crate) fn elements(&self) -> u64 {
        self.shape.iter().map(|size| *size as u64).product()
    }

    pub(crate) fn byte_len(&self) -> u64 {
        self.elements() * self.dtype.size() as u64
    }

    fn read<E: From<Problem>>(&self, sink: Sink<'_, E>) -> std::result::Result<(), E> {
        self.storage.verify()?;
        let len = self.byte_len();
        if len == 0 {
            return Ok(());
        }
        let contiguous = self.strides == row_major(&self.shape);
        match (contiguous, self.change == Change::default()) {
            (true, true) => self.storage.stream(self.start, len, sink),
            (true, false) => {
                let mut buffer = Vec::new();
                self.storage.stream(self.start, len, &mut |chunk| {
                    buffer.clear();
                    buffer.extend_from_slice(chunk);
                    self.apply_change(&mut buffer);
                    sink(&buffer)
                })
            }
            (false, _) => self.gather(sink),
        }
    }

    /// Collects the elements of a view that is not row-major.
    fn gather<E: From<Problem>>(&self, sink: Sink<'_, E>) -> std::result::Result<(), E> {
        // One inflated storage at a time, however many threads read: it may be as large as the limit allows.
        let _turn =
            self.storage.is_compressed().then(|| INFLATED.lock().unwrap_or_else(PoisonError::into_inner));
        let base = self.storage.decoded()?;
        let size = self.dtype.size();
        let mut buffer = Vec::with_capacity(CHUNK.min(self.byte_len() as usize));
        let mut index = vec![0; self.shape.len()];
        for _ in 0..self.elements() {
            let element = index.iter().zip(&self.strides).map(|(i, stride)| *i as u64 * stride).sum::<u64>();
            let at = self.start as usize + element as usize * size;
            let bytes = base.get(at..at + size).ok_or_else(|| self.outside(at))?;
            buffer.extend_from_slice(bytes);
            if buffer.len() == CHUNK {
                self.apply_change(&mut buffer);
                sink(&buffer)?;
                buffer.clear();
            }
            advance(&mut index, &self.shape);
        }
        if !buffer.is_empty() {
            self.apply_change(&mut buffer);
            sink(&buffer)?;
        }
        Ok(())
    }

    fn outside(&self, at: usize) -> Problem {
        Problem::OutOfRange { place: self.storage.place().to_owned(), reach: format!("byte {at}") }
    }

    fn apply_change(&self, buffer: &mut [u8]) {
        let word = self.dtype.word_size();
        if self.change.swap {
            buffer.chunks_exact_mut(word).for_each(<[u8]>::reverse);
        }
        // The sign is the top bit of the last byte of a little-endian word.
        let flip = |bytes: &mut [u8]| {
            if let Some(top) = bytes.last_mut() {
                *top ^= 0x80;
            }
        };
        if self.change.conjugate {
            buffer.chunks_exact_mut(2 * word).for_each(flip);
        }
        if self.change.negate {
            buffer.chunks_exact_mut(word).for_each(flip);
        }
    }
}

/// The next index in row-major order.
fn advance(index: &mut [usize], shape: &[usize]) {
    for (i, size) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < *size {
            return;
        }
        *i = 0;
    }
}

/// Strides, in elements, of a row-major tensor. Saturates: callers have checked the product.
pub(crate) fn row_major(shape: &[usize]) -> Vec<u64> {
    let mut strides = vec![1_u64; shape.len()];
    let mut step = 1_u64;
    for (stride, size) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.saturating_mul((*size).max(1) as u64);
    }
    strides
}

/// One past the highest element index that the view touches, or `None` on overflow.
fn last_element(shape: &[usize], strides: &[u64], start: u64) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    let mut end = start.checked_add(1)?;
    for (size, stride) in shape.iter().zip(strides) {
        end = end.checked_add((*size as u64 - 1).checked_mul(*stride)?)?;
    }
    Some(end)
}

/// Bytes of a row-major tensor of this shape.
///
/// # Errors
/// When there are too many dimensions or the product overflows.
pub(crate) fn byte_len(place: &str, dtype: Dtype, shape: &[usize]) -> std::result::Result<u64, Problem> {
    if shape.len() > limits::MAX_DIMENSIONS {
        return Err(Problem::Limit {
            place: place.to_owned(),
            what: format!("a tensor of {} dimensions", shape.len()),
            limit: limits::MAX_DIMENSIONS as u64,
        });
    }
    // Zero sizes first: [2^40, 2^40, 0] is an empty tensor, but its strides would overflow.
    let mut nonzero = shape.iter().map(|size| (*size).max(1) as u64);
    let product = nonzero.try_fold(dtype.size() as u64, u64::checked_mul);
    match product.filter(|product| *product <= i64::MAX as u64) {
        Some(_) if shape.contains(&0) => Ok(0),
        Some(product) => Ok(product),
        None => Err(Problem::Malformed {
            place: place.to_owned(),
            rule: "the product of the sizes is more than any memory holds",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(
        bytes: &[u8],
        dtype: Dtype,
        shape: &[usize],
        strides: &[u64],
        start: u64,
        change: Change,
    ) -> View {
        let storage = Storage::raw(Path::new("file").into(), "record", bytes::Bytes::copy_from_slice(bytes));
        View::strided("t", storage.into(), dtype, shape.into(), strides.into(), start, change).unwrap()
    }

    fn read(view: &View) -> Vec<u8> {
        let mut all = Vec::new();
        view.read::<Problem>(&mut |chunk| {
            all.extend_from_slice(chunk);
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn strided_views_are_gathered_row_major() {
        let transposed = view(&[0, 1, 2, 3, 4, 5], Dtype::U8, &[3, 2], &[1, 3], 0, Change::default());
        assert_eq!(read(&transposed), [0, 3, 1, 4, 2, 5]);
        let repeated = view(&[7, 8], Dtype::U8, &[2, 2], &[0, 1], 0, Change::default());
        assert_eq!(read(&repeated), [7, 8, 7, 8]);
        let tail = view(&[0, 1, 2, 3], Dtype::U16, &[1], &[1], 1, Change::default());
        assert_eq!(read(&tail), [2, 3]);
    }

    #[test]
    fn changes_touch_the_right_bytes() {
        let swap = Change { swap: true, ..Change::default() };
        assert_eq!(read(&view(&[1, 2, 3, 4], Dtype::U16, &[2], &[1], 0, swap)), [2, 1, 4, 3]);
        let conjugate = Change { conjugate: true, ..Change::default() };
        let one = [0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3f];
        assert_eq!(
            read(&view(&one, Dtype::C64, &[1], &[1], 0, conjugate)),
            [0, 0, 0x80, 0x3f, 0, 0, 0x80, 0xbf]
        );
    }

    #[test]
    fn overflowing_shapes_are_refused() {
        assert!(byte_len("t", Dtype::F32, &[usize::MAX, 2]).is_err());
        assert_eq!(byte_len("t", Dtype::F32, &[0, 3]).unwrap(), 0);
        assert!(byte_len("t", Dtype::U8, &[1; 65]).is_err());
    }
}
