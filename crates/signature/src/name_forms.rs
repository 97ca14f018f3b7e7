//! Comparing names of hosts, mail addresses, URIs and network addresses with those
//! of name constraints, as OpenSSL does.
//!
//! Spec: RFC 5280, section 4.2.1.10.

use alloc::{string::String, vec::Vec};

/// Returns whether `name` is `base` or ends in it. Labels may come before it:
/// whole ones, but for a base that starts with a dot.
pub(crate) fn dns(name: &[u8], base: &[u8]) -> bool {
    match split_end(name, base.len()) {
        None => false,
        Some((before, end)) => {
            let is_label = before.is_empty() || before.ends_with(b".") || base.starts_with(b".");
            base.is_empty() || (is_label && end.eq_ignore_ascii_case(base))
        }
    }
}

/// Returns whether `host` is `base`, or lies below it where `base` starts with
/// a dot.
fn is_host(host: &[u8], base: &[u8]) -> bool {
    if base.starts_with(b".") {
        let end = split_end(host, base.len());
        return end
            .is_some_and(|(before, end)| !before.is_empty() && end.eq_ignore_ascii_case(base));
    }
    host.eq_ignore_ascii_case(base)
}

/// Compares mail addresses: one mailbox, all of a host, or all below a domain.
pub(crate) fn email(name: &[u8], base: &[u8]) -> Result<bool, &'static str> {
    let Some((local, host)) = split_at_sign(name) else {
        return Err(MALFORMED);
    };
    let Some((base_local, base_host)) = split_at_sign(base) else {
        // The end of the whole address is compared, where it starts with a dot.
        let name = if base.starts_with(b".") { name } else { host };
        return Ok(is_host(name, base));
    };
    let is_any = base_local.is_empty();
    let has_nul = local.contains(&0) || base_local.contains(&0);
    if !is_any && base_local.len() == local.len() && has_nul {
        return Err(MALFORMED);
    }
    let is_local = is_any || base_local == local;
    Ok(is_local && host.eq_ignore_ascii_case(base_host))
}

/// Compares the host of a URI.
pub(crate) fn uri(name: &[u8], base: &[u8]) -> Result<bool, &'static str> {
    let scheme = name.iter().position(|byte| *byte == b':');
    let (_, rest) = scheme
        .and_then(|end| name.split_at_checked(end))
        .ok_or(MALFORMED)?;
    let rest = rest.strip_prefix(b"://").ok_or(MALFORMED)?;
    let is_end = |byte: &u8| matches!(byte, b':' | b'/' | b'?' | b'#');
    let host = rest.split(is_end).next().unwrap_or(rest); // there is one part at least
    // Versions of OpenSSL differ in who is before an at sign.
    if host.is_empty() || host.contains(&b'@') || host.contains(&b'[') {
        return Err(MALFORMED);
    }
    Ok(is_host(host, base))
}

/// Compares an address of IPv4 or IPv6 with an address and a mask.
pub(crate) fn ip(name: &[u8], base: &[u8]) -> Result<bool, &'static str> {
    if !matches!(name.len(), 4 | 16) || !matches!(base.len(), 8 | 32) {
        return Err(MALFORMED);
    }
    let Some((base, mask)) = base.split_at_checked(name.len()) else {
        return Ok(false);
    };
    let pairs = name.iter().zip(base).zip(mask);
    let is_inside = |((name, base), mask): ((&u8, &u8), &u8)| name & mask == base & mask;
    Ok(mask.len() == name.len() && pairs.into_iter().all(is_inside))
}

/// Returns a common name if it looks like the name of a host: two labels or
/// more, of letters, digits and underscores, with hyphens inside.
pub(crate) fn host(common_name: Option<String>) -> Result<Option<Vec<u8>>, &'static str> {
    let text = common_name.ok_or(MALFORMED)?;
    let name = text.trim_end_matches('\0').as_bytes();
    if name.contains(&0) {
        return Err(MALFORMED);
    }
    let is_label = |label: &[u8]| {
        let is_inside = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        let is_at_end = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
        is_at_end(label.first()) && is_at_end(label.last()) && label.iter().all(is_inside)
    };
    let labels = || name.split(|byte| *byte == b'.');
    let is_host = labels().nth(1).is_some() && labels().all(is_label);
    Ok(is_host.then(|| name.to_vec()))
}

/// Splits off the last `len` bytes.
fn split_end(bytes: &[u8], len: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(bytes.len().checked_sub(len)?)
}

/// Splits a mail address at its last at sign.
fn split_at_sign(address: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = address.iter().rposition(|byte| *byte == b'@')?;
    let (local, rest) = address.split_at_checked(at)?;
    Some((local, rest.strip_prefix(b"@")?))
}

pub(crate) const MALFORMED: &str = "one of its names is malformed, and cannot be compared";
