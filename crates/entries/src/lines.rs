//! Files of lines that set keys: those of `loader/entries`, and `loader/loader.conf`.
//!
//! Spec: UAPI group, "Boot Loader Specification"; loader.conf(5). As in systemd-boot, a NUL
//! ends the file, and quotes around a value are not part of it; bootctl has them in it.

/// Returns the keys and the values that `bytes` set, in order. Lines without a value, and
/// those that begin with `#`, set nothing.
pub(crate) fn settings(bytes: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let lines = text.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.filter_map(|line| {
        let line = line.trim_ascii();
        let key_len = line.iter().position(|byte| is_blank(*byte))?;
        let (key, value) = line.split_at_checked(key_len)?;
        let key = str::from_utf8(key).ok()?;
        let value = unquoted(value.trim_ascii_start());
        (!key.starts_with('#') && !value.is_empty()).then_some((key, value))
    })
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Returns `value` without the quotes around it, if there are some.
fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_sets_a_key() {
        let set = |file: &str| {
            let settings = settings(file.as_bytes());
            let shown = settings.map(|(key, value)| format!("{key}={}", value.escape_ascii()));
            shown.collect::<Vec<_>>().join("|")
        };
        for (file, expected) in [
            ("", ""),
            ("title Debian GNU", "title=Debian GNU"),
            (" \ttitle\t \tDebian \t", "title=Debian"),
            ("a 1\nb 2\r\nc 3\rd 4", "a=1|b=2|c=3|d=4"),
            ("# title x\n #title x\n#\ntitle", ""),
            ("title #x", "title=#x"),
            (
                "title \"a b\"\nb 'c'\nc \"d'\nd \"\ne \"\"",
                r#"title=a b|b=c|c=\"d\'|d=\""#,
            ),
            ("a 1\0\nb 2", "a=1"),
        ] {
            assert_eq!(set(file), expected, "{file:?}");
        }
        assert_eq!(settings(b"\xff 1\na \xff").count(), 1);
    }
}
