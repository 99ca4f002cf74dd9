//! The fields of annotations and results, as they are written.

use super::error::Flaw;
use super::json::{Fault, Kind, Number, Reader};
use super::{Id, Rules};

/// Why a record is not read.
#[derive(Debug)]
pub(super) enum Stop {
    /// The text is not JSON.
    Fault(Fault),
    /// The record breaks a rule.
    Flaw(Flaw),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl From<Flaw> for Stop {
    fn from(flaw: Flaw) -> Stop {
        Stop::Flaw(flaw)
    }
}

/// Reads a record's fields, or says that it is no record.
pub(super) fn fields<'a>(
    reader: &mut Reader<'a>,
    field: impl FnMut(&mut Reader<'a>, &str) -> Result<(), Stop>,
) -> Result<(), Stop> {
    match reader.peek()? {
        Kind::Object => reader.object(field),
        _ => Err(Flaw::NotAnObject.into()),
    }
}

/// An id: a whole number, however written, or text.
pub(super) fn id(reader: &mut Reader<'_>, field: &'static str) -> Result<Id, Stop> {
    match reader.peek()? {
        Kind::String => Ok(Id::Text(reader.string()?.into())),
        Kind::Number => match reader.number()? {
            Number::Integer(number) => Ok(Id::Number(number)),
            Number::Double(number) => Id::of_double(number).ok_or(Flaw::NotAnId(field).into()),
        },
        _ => Err(Flaw::NotAnId(field).into()),
    }
}

/// A number; finite, unless pycocotools' rules hold, which know no such condition.
pub(super) fn number(reader: &mut Reader<'_>, field: &'static str, rules: Rules) -> Result<f64, Stop> {
    if reader.peek()? != Kind::Number {
        return Err(Flaw::NotANumber(field).into());
    }
    let number = reader.number()?.double();
    if !number.is_finite() && rules == Rules::Sound {
        return Err(Flaw::NotFinite(field).into());
    }
    Ok(number)
}

/// Left, top, width, height.
pub(super) fn bbox(reader: &mut Reader<'_>, rules: Rules) -> Result<[f64; 4], Stop> {
    if reader.peek()? != Kind::Array {
        return Err(Flaw::BoxLength(0).into());
    }
    let (mut sides, mut count) = ([0.0; 4], 0);
    reader.array::<Stop>(|reader| {
        let side = number(reader, "bbox", rules)?;
        if let Some(place) = sides.get_mut(count) {
            *place = side;
        }
        count += 1;
        Ok(())
    })?;
    if count != 4 {
        return Err(Flaw::BoxLength(count).into());
    }
    Ok(sides)
}

/// 0 or 1, or a boolean.
pub(super) fn flag(reader: &mut Reader<'_>, field: &'static str) -> Result<bool, Stop> {
    match reader.peek()? {
        Kind::Boolean => Ok(reader.boolean()?),
        _ => Ok(number(reader, field, Rules::Sound)? != 0.0),
    }
}

/// A value that may be `null`, which is as good as absent.
pub(super) fn optional<T>(
    reader: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Stop>,
) -> Result<Option<T>, Stop> {
    match reader.peek()? {
        Kind::Null => reader.skip().map(|()| None).map_err(Stop::from),
        _ => read(reader).map(Some),
    }
}
