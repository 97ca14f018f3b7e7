//! Writing DER, one element from its parts, with no check of what the parts are.
//!
//! Specification: X.690. The shortest lengths, unless a caller writes its own.

/// An element with any tag.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    [&[tag], &*length(content.len()), &content].concat()
}

/// How DER writes a length.
pub(crate) fn length(len: usize) -> Vec<u8> {
    let bytes = len.to_be_bytes();
    let short = bytes.iter().position(|byte| *byte != 0);
    let short = bytes.get(short.unwrap_or(bytes.len())..).unwrap_or(&[]);
    match short {
        [] => vec![0],
        [one] if *one < 0x80 => vec![*one],
        // At most 8 bytes.
        many => [&[0x80 | many.len() as u8], many].concat(),
    }
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, parts)
}

pub(crate) fn set(parts: &[&[u8]]) -> Vec<u8> {
    element(0x31, parts)
}

pub(crate) fn octets(bytes: &[u8]) -> Vec<u8> {
    element(0x04, &[bytes])
}

/// A BIT STRING of whole bytes.
pub(crate) fn bits(bytes: &[u8]) -> Vec<u8> {
    element(0x03, &[&[0], bytes])
}

/// A small INTEGER.
pub(crate) fn int(number: u8) -> Vec<u8> {
    if number < 0x80 {
        element(0x02, &[&[number]])
    } else {
        element(0x02, &[&[0, number]])
    }
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    element(0x01, &[&[if value { 0xff } else { 0 }]])
}

pub(crate) fn null() -> Vec<u8> {
    element(0x05, &[])
}

pub(crate) fn utf8(text: &str) -> Vec<u8> {
    element(0x0c, &[text.as_bytes()])
}

/// A context-specific element that holds others: EXPLICIT, or IMPLICIT of a SEQUENCE or SET.
pub(crate) fn tagged(number: u8, parts: &[&[u8]]) -> Vec<u8> {
    element(0xa0 | number, parts)
}

/// A context-specific element of bytes.
pub(crate) fn tagged_bytes(number: u8, bytes: &[u8]) -> Vec<u8> {
    element(0x80 | number, &[bytes])
}

/// An OBJECT IDENTIFIER from its numbers, such as `1.2.840.113549.1.7.2`.
pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    let mut numbers = dotted
        .split('.')
        .map(|number| number.parse::<u64>().unwrap_or_default());
    let mut next = || numbers.next().unwrap_or_default();
    let first = next() * 40 + next();
    let content: Vec<u8> = [first]
        .into_iter()
        .chain(numbers)
        .flat_map(base128)
        .collect();
    element(0x06, &[&content])
}

fn base128(mut number: u64) -> Vec<u8> {
    let mut bytes = vec![(number & 0x7f) as u8];
    while number >= 0x80 {
        number >>= 7;
        bytes.push((number & 0x7f) as u8 | 0x80);
    }
    bytes.reverse();
    bytes
}

/// Where an element's content begins, and where the element ends, in bytes that begin with it.
pub(crate) fn extent(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.get(1)?;
    if first < 0x80 {
        return Some((2, 2 + usize::from(first)));
    }
    let start = 2 + usize::from(first & 0x7f);
    let len = bytes
        .get(2..start)?
        .iter()
        .fold(0, |len, byte| len << 8 | usize::from(*byte));
    Some((start, start + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_the_shortest() {
        assert_eq!(length(0), [0]);
        assert_eq!(length(0x7f), [0x7f]);
        assert_eq!(length(0x80), [0x81, 0x80]);
        assert_eq!(length(0x1234), [0x82, 0x12, 0x34]);
    }

    #[test]
    fn object_identifiers_are_as_in_the_standard() {
        assert_eq!(
            oid("1.2.840.113549.1.7.2"),
            b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
        );
        assert_eq!(oid("2.5.29.19"), b"\x06\x03\x55\x1d\x13");
    }

    #[test]
    fn an_extent_is_read_as_it_was_written() {
        let bytes = octets(&[7; 300]);
        assert_eq!(extent(&bytes), Some((4, bytes.len())));
    }
}
