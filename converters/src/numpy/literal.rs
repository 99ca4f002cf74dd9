//! The header of an `.npy` file: a dictionary in Python syntax, read by the few forms that numpy writes.

/// What an `.npy` header says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The type string, or the text of anything else that stands there.
    pub(crate) descr: String,
    pub(crate) fortran_order: bool,
    /// Sizes as written: they may be negative.
    pub(crate) shape: Vec<i128>,
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`. `None` when it is anything else: there
/// are exactly these keys, in any order, and only literals.
pub(crate) fn header(text: &str) -> Option<Header> {
    let mut rest = text.trim().strip_prefix('{')?.trim_start();
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    while !rest.starts_with('}') {
        let (key, after) = quoted(rest)?;
        rest = after.trim_start().strip_prefix(':')?.trim_start();
        match key {
            "descr" => {
                let (value, after) = descr_literal(rest)?;
                rest = after;
                descr.replace(value).is_none().then_some(())?;
            }
            "fortran_order" => {
                let value = rest.starts_with("True");
                rest = rest.strip_prefix(if value { "True" } else { "False" })?;
                fortran_order.replace(value).is_none().then_some(())?;
            }
            "shape" => {
                let (value, after) = tuple(rest)?;
                rest = after;
                shape.replace(value).is_none().then_some(())?;
            }
            _ => return None,
        }
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
    let ends = rest.strip_prefix('}')?.trim().is_empty();
    ends.then_some(Header { descr: descr?, fortran_order: fortran_order?, shape: shape? })
}

/// A quoted text without escapes, and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let (inner, after) = text.get(1..)?.split_once(quote)?;
    (!inner.contains('\\')).then_some((inner, after))
}

/// A type string, or the list of fields of a record type as it stands.
fn descr_literal(text: &str) -> Option<(String, &str)> {
    if let Some((descr, after)) = quoted(text) {
        return Some((descr.to_owned(), after));
    }
    let end = text.starts_with('[').then(|| text.find(']'))??;
    let (fields, after) = text.split_at(end + 1);
    Some((fields.to_owned(), after))
}

/// `()`, `(2,)`, `(2, 3)`; Python 2 wrote long integers with an `L`.
fn tuple(text: &str) -> Option<(Vec<i128>, &str)> {
    let (inner, after) = text.strip_prefix('(')?.split_once(')')?;
    let inner = inner.trim();
    let listed = inner.strip_suffix(',').unwrap_or(inner);
    if listed.is_empty() {
        return inner.is_empty().then_some((Vec::new(), after));
    }
    let sizes = listed.split(',').map(|size| size.trim().trim_end_matches('L').parse().ok());
    Some((sizes.collect::<Option<_>>()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_as_numpy_writes_them() {
        let read = header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n").unwrap();
        assert_eq!(read, Header { descr: "<f4".into(), fortran_order: false, shape: vec![2, 3] });
        assert_eq!(header("{'shape': (), 'descr': '|b1', 'fortran_order': True}").unwrap().shape, []);
        assert_eq!(
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (-5L,), }").unwrap().shape,
            [-5]
        );
    }

    #[test]
    fn anything_else_is_no_header() {
        for text in [
            "",
            "{}",
            "{'descr': '<f4', 'fortran_order': False}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'more': 1}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').getpid(),), }",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': ()} x",
        ] {
            assert_eq!(header(text), None, "{text}");
        }
    }
}
