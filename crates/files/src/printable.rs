//! Text that a terminal shows as it is.

/// `text` with control and formatting characters escaped: names come from files, and could rewrite a terminal
/// or show letters in another order.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() || is_formatting(character) {
            true => shown.extend(character.escape_unicode()),
            false => shown.push(character),
        }
    }
    shown
}

/// Invisible characters that steer how others are shown (Unicode category Cf, as far as text is concerned).
fn is_formatting(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(printable("weight é 世"), "weight é 世");
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(printable("\u{202e}gpj.exe\u{200b}"), "\\u{202e}gpj.exe\\u{200b}");
    }
}
