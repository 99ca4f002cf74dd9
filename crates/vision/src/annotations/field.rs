//! The fields of COCO's records, as they are written.

use super::Id;
use super::json::{Fault, Kind, Number, Reader};

/// What is wrong with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A field that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field that is no number.
    #[error("`{0}` is not a number")]
    NotANumber(&'static str),
    /// A field that is no text.
    #[error("`{0}` is not text")]
    NotText(&'static str),
    /// NaN or infinite.
    #[error("`{0}` is not finite")]
    NotFinite(&'static str),
    /// A box that has not four numbers.
    #[error("`bbox` has {0} numbers; a box is left, top, width, height")]
    BoxLength(usize),
    /// An id that is neither a whole number nor text.
    #[error("`{0}` is neither a whole number nor text")]
    NotAnId(&'static str),
    /// An id that another record of the list has.
    #[error("another one has its `id`")]
    IdTwice,
    /// A record that is no object.
    #[error("it is not an object")]
    NotAnObject,
}

/// A field: its value, none where it is absent, or what is wrong with it.
pub type Field<T> = Result<Option<T>, Flaw>;

/// A value or what is wrong with it; outside of that, what is wrong with the text.
pub(super) type Read<T> = Result<Result<T, Flaw>, Fault>;

/// The value of a field that must be there.
///
/// # Errors
/// It is absent or flawed.
pub fn needed<T>(field: Field<T>, name: &'static str) -> Result<T, Flaw> {
    field?.ok_or(Flaw::Missing(name))
}

/// The number, if it is one that can be reckoned with.
///
/// # Errors
/// NaN and infinities.
pub fn finite(number: f64, name: &'static str) -> Result<f64, Flaw> {
    if number.is_finite() { Ok(number) } else { Err(Flaw::NotFinite(name)) }
}

/// Shows `field` every field of a record, which it must read or skip.
pub(super) fn record<'a>(
    reader: &mut Reader<'a>,
    field: impl FnMut(&mut Reader<'a>, &str) -> Result<(), Fault>,
) -> Read<()> {
    match reader.peek()? {
        Kind::Object => Ok(Ok(reader.object(field)?)),
        _ => wrong(reader, Flaw::NotAnObject),
    }
}

/// A field that must not be `null`.
pub(super) fn plain<T>(read: Read<T>) -> Result<Field<T>, Fault> {
    Ok(read?.map(Some))
}

/// A field that may be `null`, which is as good as absent.
pub(super) fn optional<T>(
    reader: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Read<T>,
) -> Result<Field<T>, Fault> {
    match reader.peek()? {
        Kind::Null => reader.skip().map(|()| Ok(None)),
        _ => plain(read(reader)),
    }
}

/// An id: a whole number, however written, or text.
pub(super) fn id(reader: &mut Reader<'_>, name: &'static str) -> Read<Id> {
    match reader.peek()? {
        Kind::String => Ok(Ok(Id::Text(reader.string()?.into()))),
        Kind::Number => Ok(match reader.number()? {
            Number::Integer(number) => Ok(Id::Number(number)),
            Number::Double(number) => Id::of_double(number).ok_or(Flaw::NotAnId(name)),
        }),
        _ => wrong(reader, Flaw::NotAnId(name)),
    }
}

/// Any text.
pub(super) fn string(reader: &mut Reader<'_>, name: &'static str) -> Read<String> {
    match reader.peek()? {
        Kind::String => Ok(Ok(reader.string()?.into_owned())),
        _ => wrong(reader, Flaw::NotText(name)),
    }
}

/// A number, finite or not.
pub(super) fn number(reader: &mut Reader<'_>, name: &'static str) -> Read<f64> {
    match reader.peek()? {
        Kind::Number => Ok(Ok(reader.number()?.double())),
        _ => wrong(reader, Flaw::NotANumber(name)),
    }
}

/// Left, top, width, height, finite or not.
pub(super) fn sides(reader: &mut Reader<'_>) -> Read<[f64; 4]> {
    if reader.peek()? != Kind::Array {
        return wrong(reader, Flaw::BoxLength(0));
    }
    let (mut sides, mut count, mut flaw) = ([0.0; 4], 0, None);
    reader.array::<Fault>(|reader| {
        let side = number(reader, "bbox")?.unwrap_or_else(|wrong| {
            flaw.get_or_insert(wrong);
            f64::NAN
        });
        if let Some(place) = sides.get_mut(count) {
            *place = side;
        }
        count += 1;
        Ok(())
    })?;
    Ok(match flaw {
        Some(flaw) => Err(flaw),
        None if count != 4 => Err(Flaw::BoxLength(count)),
        None => Ok(sides),
    })
}

/// 0 or 1, or a boolean.
pub(super) fn flag(reader: &mut Reader<'_>, name: &'static str) -> Read<bool> {
    match reader.peek()? {
        Kind::Boolean => Ok(Ok(reader.boolean()?)),
        _ => Ok(number(reader, name)?.and_then(|number| finite(number, name)).map(|number| number != 0.0)),
    }
}

/// Whether a list or an object has anything in it.
pub(super) fn is_filled(reader: &mut Reader<'_>) -> Result<bool, Fault> {
    let mut is_filled = false;
    match reader.peek()? {
        Kind::Array => reader.array(|reader| {
            is_filled = true;
            reader.skip()
        })?,
        Kind::Object => reader.object(|reader, _| {
            is_filled = true;
            reader.skip()
        })?,
        _ => reader.skip()?,
    }
    Ok(is_filled)
}

/// Passes over a value that is not what it should be.
fn wrong<T>(reader: &mut Reader<'_>, flaw: Flaw) -> Read<T> {
    reader.skip()?;
    Ok(Err(flaw))
}
