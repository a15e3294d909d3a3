//! What is left of the name of a file that a client sent: neither folders nor control characters.

/// Returns the last component of a path of any system, without control characters. `.` and `..` become empty.
///
/// The result may still be the name of anything in the folder that it would be used in.
pub fn file_name(path: &[u8]) -> Vec<u8> {
    let start = path.iter().rposition(|b| matches!(b, b'/' | b'\\')).map_or(0, |last| last + 1);
    let name: Vec<u8> = path[start..].iter().copied().filter(|b| !b.is_ascii_control()).collect();
    if matches!(name.as_slice(), b"." | b"..") { Vec::new() } else { name }
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn a_name_has_no_folders_and_no_control_characters() {
        for (path, name) in [
            ("a.txt", "a.txt"),
            ("/etc/passwd", "passwd"),
            ("../../a", "a"),
            (r"C:\dir\a.txt", "a.txt"),
            (r"..\a/b", "b"),
            ("a/", ""),
            ("..", ""),
            (".\0.", ""),
            ("a/..", ""),
            (".profile", ".profile"),
            ("a\0b\r\n.txt", "ab.txt"),
            ("日本", "日本"),
        ] {
            assert_eq!(file_name(path.as_bytes()), name.as_bytes(), "{path}");
        }
    }
}
