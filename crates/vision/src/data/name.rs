//! File names that strangers wrote into annotations.

/// The longest path of a picture that is used, in bytes (Linux's `PATH_MAX`).
const MAX_BYTES: usize = 4096;

/// The name as a path inside a folder, with `/` between its parts; `None` when it is empty, absolute, leads out of the
/// folder or has control characters.
pub fn inside(name: &str) -> Option<String> {
    let name = name.trim().replace('\\', "/");
    let is_absolute =
        name.starts_with('/') || name.split('/').next().is_some_and(|first| first.contains(':'));
    if is_absolute || name.len() > MAX_BYTES || name.chars().any(char::is_control) {
        return None;
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let is_plain = !parts.is_empty() && !parts.contains(&"..") && !name.ends_with('/');
    is_plain.then(|| parts.join("/"))
}

/// The name without its extension.
pub fn stem(name: &str) -> &str {
    let base = name.rfind('/').map_or(0, |slash| slash + 1);
    match name.rfind('.') {
        Some(dot) if dot > base => name.get(..dot).unwrap_or(name),
        _ => name,
    }
}

/// The last part of a path of either kind.
pub fn base(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        for (name, expected) in [
            ("a.jpg", Some("a.jpg")),
            ("./train//a.jpg", Some("train/a.jpg")),
            ("train\\a.jpg", Some("train/a.jpg")),
            ("größe 1…雪.jpg", Some("größe 1…雪.jpg")),
            ("..jpg", Some("..jpg")),
            ("", None),
            (".", None),
            ("a/", None),
            ("/etc/passwd", None),
            ("\\\\host\\share", None),
            ("C:\\a.jpg", None),
            ("a/../../b.jpg", None),
            ("a\0.jpg", None),
            ("a\nb.jpg", None),
        ] {
            assert_eq!(inside(name).as_deref(), expected, "{name:?}");
        }
        assert_eq!(inside(&"a".repeat(5000)), None);
    }

    #[test]
    fn stems_keep_folders_and_hidden_files() {
        assert_eq!(
            (stem("a/b.c.jpg"), stem("a.b/c"), stem("a/.c"), stem("雪.jpg")),
            ("a/b.c", "a.b/c", "a/.c", "雪")
        );
        assert_eq!((base("C:\\x\\a.jpg"), base("x/a.jpg"), base("a.jpg")), ("a.jpg", "a.jpg", "a.jpg"));
    }
}
