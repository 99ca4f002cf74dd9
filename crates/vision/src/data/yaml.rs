//! `data.yaml` of YOLO data sets: the few keys that matter, in the few ways they are written.
//!
//! A reader of our own because the file needs a thousandth of YAML, and the rest of it (anchors that expand, types
//! that run, documents in documents) is what one would have to guard against. What is not understood in a key that
//! counts is an error, everything else is passed over.

use super::fault::{Fault, text};
use super::names::checked;

/// What a `data.yaml` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// `path`: the folder that the others are relative to.
    pub path: Option<String>,
    /// `train`, `val`, `test`: name and folder of pictures.
    pub splits: Vec<(String, String)>,
    /// `names`, in the order of the classes.
    pub names: Vec<String>,
}

/// The keys that name folders of pictures.
pub const SPLITS: [&str; 3] = ["train", "val", "test"];

/// A line without its comment: number, indentation, content.
type Line<'a> = (usize, usize, &'a str);

/// Reads the bytes of a `data.yaml`.
///
/// # Errors
/// The text is not UTF-8, a key that counts is written in a way that is not read, names are missing between others or
/// given twice.
pub fn parse(bytes: &[u8]) -> Result<Description, Fault> {
    let text = text(bytes)?;
    let lines: Vec<Line<'_>> =
        text.lines().enumerate().filter_map(|(index, line)| plain(index + 1, line)).collect();
    let mut description = Description::default();
    let mut rest = lines.as_slice();
    while let [(number, indent, content), after @ ..] = rest {
        let belongs = |line: &&Line<'_>| line.1 > 0 || line.2.starts_with(['-', ']', '}']);
        let block = after.get(..after.iter().take_while(belongs).count()).unwrap_or_default();
        if let Some((key, value)) = pair(content).filter(|_| *indent == 0) {
            description.take(*number, &key, value, block)?;
        }
        rest = after.get(block.len()..).unwrap_or_default();
    }
    description.names = checked(description.names)?;
    Ok(description)
}

/// The characters outside of quotes, each with its place and the one before it.
fn unquoted(text: &str) -> impl Iterator<Item = (usize, char, char)> {
    let (mut quote, mut before) = (None, ' ');
    text.char_indices().filter_map(move |(at, character)| {
        let previous = std::mem::replace(&mut before, character);
        match (quote, character) {
            // Doubled inside of single quotes, escaped inside of double ones.
            (None, '\'') if previous == '\'' => quote = Some(character),
            (Some('"'), '"') if previous == '\\' => {}
            (None, '\'' | '"') if previous.is_whitespace() || "[{,:".contains(previous) => {
                quote = Some(character)
            }
            (Some(open), _) if open == character => quote = None,
            (None, _) => return Some((at, character, previous)),
            _ => {}
        }
        None
    })
}

/// The line without comment and trailing space; `None` when nothing is left.
fn plain(number: usize, line: &str) -> Option<Line<'_>> {
    let mut comments =
        unquoted(line).filter(|(_, character, before)| *character == '#' && before.is_whitespace());
    let end = comments.next().map_or(line.len(), |(at, ..)| at);
    let line = line.get(..end).unwrap_or(line).trim_end();
    let content = line.trim_start();
    (!content.is_empty() && content != "---").then_some((number, line.len() - content.len(), content))
}

/// `key: value`, where value may be nothing.
fn pair(content: &str) -> Option<(String, &str)> {
    let at = content.char_indices().find(|&(at, character)| {
        let after = content.get(at + 1..).unwrap_or_default();
        character == ':' && (after.is_empty() || after.starts_with(char::is_whitespace))
    });
    let (key, value) = content.split_at_checked(at?.0)?;
    Some((key.trim().trim_matches(['\'', '"']).to_owned(), value.get(1..).unwrap_or_default().trim()))
}

impl Description {
    fn take(&mut self, line: usize, key: &str, value: &str, block: &[Line<'_>]) -> Result<(), Fault> {
        if key == "names" {
            self.names = names(line, value, block)?;
        } else if key == "path" {
            self.path = scalar(line, value)?;
        } else if SPLITS.contains(&key) {
            if value.is_empty() && !block.is_empty() {
                return Err(Fault::Yaml { line, problem: "a list of folders is not read; give one" });
            }
            self.splits.extend(scalar(line, value)?.map(|folder| (key.to_owned(), folder)));
        }
        Ok(())
    }
}

/// A list or a map from indices, on one line or on many.
fn names(line: usize, value: &str, block: &[Line<'_>]) -> Result<Vec<String>, Fault> {
    if value.starts_with(['[', '{']) {
        let whole: Vec<&str> = std::iter::once(value).chain(block.iter().map(|line| line.2)).collect();
        return flow(line, &whole.join(" "));
    }
    if !value.is_empty() {
        return Err(Fault::Yaml {
            line,
            problem: "names are neither a list nor a map; write one on each line",
        });
    }
    let entries = block.iter().map(|&(line, _, content)| match content.strip_prefix('-') {
        Some(name) => Ok((None, scalar(line, name.trim())?.unwrap_or_default())),
        None => indexed(line, content),
    });
    ordered(line, entries.collect::<Result<_, _>>()?)
}

/// `[a, b]` or `{0: a, 1: b}`.
fn flow(line: usize, whole: &str) -> Result<Vec<String>, Fault> {
    let is_map = whole.starts_with('{');
    let open = Fault::Yaml { line, problem: "the list does not end; close its bracket" };
    let inner =
        whole.get(1..).and_then(|rest| rest.strip_suffix(if is_map { '}' } else { ']' })).ok_or(open)?;
    let parts = commas(inner);
    let filled = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    let entries = filled.map(|part| match is_map {
        true => indexed(line, part),
        false => Ok((None, scalar(line, part)?.unwrap_or_default())),
    });
    ordered(line, entries.collect::<Result<_, _>>()?)
}

/// The parts between commas outside of quotes.
fn commas(text: &str) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    for (at, ..) in unquoted(text).filter(|(_, character, _)| *character == ',') {
        parts.extend(text.get(start..at));
        start = at + 1;
    }
    parts.extend(text.get(start..));
    parts
}

/// `0: name`.
fn indexed(line: usize, entry: &str) -> Result<(Option<usize>, String), Fault> {
    let problem = "expected `INDEX: NAME`";
    let (index, name) = pair(entry).ok_or(Fault::Yaml { line, problem })?;
    let index = index.parse().map_err(|_| Fault::Yaml { line, problem })?;
    Ok((Some(index), scalar(line, name)?.unwrap_or_default()))
}

/// The names in the order of their indices, which must count from 0.
fn ordered(line: usize, mut entries: Vec<(Option<usize>, String)>) -> Result<Vec<String>, Fault> {
    entries.sort_by_key(|(index, _)| *index);
    let counts = entries.iter().enumerate().all(|(at, (index, _))| index.is_none_or(|index| index == at));
    let problem = "the indices of names do not count from 0; list every class once";
    counts.then(|| entries.into_iter().map(|(_, name)| name).collect()).ok_or(Fault::Yaml { line, problem })
}

/// A value of one word or quoted; `None` for nothing.
fn scalar(line: usize, value: &str) -> Result<Option<String>, Fault> {
    let wrong = |problem| Err(Fault::Yaml { line, problem });
    let quoted = |quote: char| value.strip_prefix(quote).map(|rest| rest.strip_suffix(quote));
    if let Some(inner) = quoted('\'') {
        return inner
            .map_or_else(|| wrong("the quote is not closed"), |inner| Ok(Some(inner.replace("''", "'"))));
    }
    if let Some(inner) = quoted('"') {
        let Some(inner) = inner else { return wrong("the quote is not closed") };
        let plain = inner.replace("\\\\", "\u{0}").replace("\\\"", "\"");
        if plain.contains('\\') {
            return wrong("escapes other than \\\\ and \\\" are not read; write the character itself");
        }
        return Ok(Some(plain.replace('\u{0}', "\\").trim().to_owned()));
    }
    match value.chars().next() {
        None | Some('~') => Ok(None),
        Some('&' | '*' | '!' | '|' | '>' | '[' | '{' | '%' | '@' | '`') => {
            wrong("only plain and quoted values on one line are read")
        }
        Some(_) if value == "null" => Ok(None),
        Some(_) => Ok(Some(value.to_owned())),
    }
}

/// A `data.yaml` of these splits, name and folder.
pub fn write(splits: &[(&str, String)], names: &[&str]) -> String {
    let mut yaml = String::new();
    for (split, folder) in splits {
        yaml.push_str(&format!("{split}: '{}'\n", folder.replace('\'', "''")));
    }
    yaml.push_str(&format!("nc: {}\nnames:\n", names.len()));
    for (index, name) in names.iter().enumerate() {
        yaml.push_str(&format!("  {index}: '{}'\n", name.replace('\'', "''")));
    }
    yaml
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Description {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn every_usual_way_is_read() {
        let expected = ["person", "it's #1, \"you\"", "größe"].map(str::to_owned).to_vec();
        for text in [
            "names:\n  0: person # first\n  2: größe\n  1: 'it''s #1, \"you\"'\n",
            "\u{feff}names:\r\n- person\r\n- \"it's #1, \\\"you\\\"\"\r\n\r\n- größe\r\n",
            "# c\nnc: 3\nnames: ['person', 'it''s #1, \"you\"', größe]\n",
            "names: [person,\n  'it''s #1, \"you\"',\n  größe,\n]\nx: 1\n",
            "names: {0: person, 1: 'it''s #1, \"you\"', 2: größe}",
        ] {
            assert_eq!(read(text).names, expected, "{text}");
        }
    }

    #[test]
    fn other_keys_are_passed_over() {
        let description = read(
            "%YAML 1.2\n---\npath: ../datasets/coco8 # root\ntrain: images/train\nval: \"images/val\"\ntest: # none\n\
             download: |\n  import os\n  names: [x]\nbase: &a [1]\nother: *a\nnames: []\n",
        );
        assert_eq!(description.path.as_deref(), Some("../datasets/coco8"));
        let expected = [("train", "images/train"), ("val", "images/val")];
        assert_eq!(description.splits, expected.map(|(name, folder)| (name.to_owned(), folder.to_owned())));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in [
            "names: person",
            "names: [a, b",
            "names: *a",
            "names:\n  0: a\n  2: b\n",
            "names:\n  x: b\n",
            "names: [a, a]",
            "names: [a, '']",
            "names: ['a, b]",
            "train: [a, b]",
            "train:\n  - a\n  - b\n",
            "path: !!python/object x",
            "path: \"a\\x41\"",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse(b"names: \xff").is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let names = ["a: b", "'quoted'", "#", "- x", "null", "größe \\"];
        let description = read(&write(&[("train", "images/it's".to_owned())], &names));
        assert_eq!(description.names, names);
        assert_eq!(description.splits, [("train".to_owned(), "images/it's".to_owned())]);
    }
}
