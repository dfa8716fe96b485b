//! E-mail and IP addresses.

use crate::find::{before, byte, run};

/// What follows a dot and is no domain: a unit of systemd (`user@1000.service`), a
/// file (`logo@2x.png`).
const NO_DOMAINS: [&[u8]; 16] = [
    b"service", b"socket", b"timer", b"mount", b"slice", b"target", b"scope", b"device", b"swap", b"path",
    b"png", b"jpg", b"gif", b"svg", b"css", b"js",
];

/// The e-mail address around the @ at i (RFC 5321 §4.1.2, as it is used): not
/// before floor. Neither look goes over another @, so all of them together go over
/// the text twice at most.
pub fn email(text: &[u8], floor: usize, i: usize) -> Option<(usize, usize)> {
    let local =
        |c: u8| c.is_ascii_alphanumeric() || c >= 0x80 || matches!(c, b'.' | b'_' | b'%' | b'+' | b'-');
    let mut from = i;
    while from > floor && local(text[from - 1]) {
        from -= 1;
    }
    while from < i && matches!(text[from], b'.' | b'-' | b'%' | b'+') {
        from += 1;
    }
    let mut end = run(text, i + 1, |c| c.is_ascii_alphanumeric() || c == b'-' || c == b'.' || c >= 0x80);
    while end > i && matches!(text[end - 1], b'.' | b'-') {
        end -= 1;
    }
    if from == i || end <= i + 1 || byte(text, i + 1) == b'.' || byte(text, i + 1) == b'-' {
        return None;
    }
    let domain = &text[i + 1..end];
    let dot = domain.iter().rposition(|c| *c == b'.')?;
    let last = &domain[dot + 1..];
    let named = last.len() >= 2 && last.iter().all(|c| c.is_ascii_alphabetic() || *c >= 0x80)
        || last.starts_with(b"xn--");
    let algorithm = domain == b"openssh.com" || domain == b"libssh.org"; // chacha20-poly1305@openssh.com
    if dot == 0 || !named || algorithm || NO_DOMAINS.contains(&last) {
        return None;
    }
    Some((from, end))
}

/// Where the IPv4 address ends that begins at i: four numbers of up to 255 that
/// are no part of a longer thing. A version of four numbers is one, too: nothing
/// tells them apart.
pub fn ipv4(text: &[u8], i: usize) -> Option<usize> {
    if !free(before(text, i)) || matches!(before(text, i), b'.' | b'-') {
        return None;
    }
    let mut at = i;
    for part in 0..4 {
        if part > 0 {
            if byte(text, at) != b'.' {
                return None;
            }
            at += 1;
        }
        let end = at + run(&text[at..text.len().min(at + 4)], 0, |c| c.is_ascii_digit());
        let n = text[at..end].iter().fold(0, |n, c| n * 10 + (*c - b'0') as u32);
        if end == at || n > 255 || end - at > 3 {
            return None;
        }
        at = end;
    }
    let next = byte(text, at);
    if !free(next)
        || next == b'.' && byte(text, at + 1).is_ascii_digit()
        || next == b'-' && byte(text, at + 1).is_ascii_alphabetic()
    {
        return None;
    }
    Some(at)
}

fn free(c: u8) -> bool {
    !c.is_ascii_alphanumeric() && c != b'_' && c < 0x80
}

/// The IPv6 address whose first colon is at i (RFC 4291 §2.2): eight groups, or
/// fewer with one `::`. It looks at 45 bytes at most.
pub fn ipv6(text: &[u8], floor: usize, i: usize) -> Option<(usize, usize)> {
    let hex = |c: u8| c.is_ascii_hexdigit();
    let mut from = i;
    while from > floor && i - from < 5 && hex(text[from - 1]) {
        from -= 1;
    }
    let c = before(text, from);
    if i - from > 4 || !free(c) || c == b':' || c == b'.' {
        return None;
    }
    let (mut at, mut groups, mut gap, mut digit) = (from, 0, false, false);
    loop {
        let end = at + run(&text[at..text.len().min(at + 5)], 0, hex);
        if end - at > 4 {
            return None;
        }
        if end > at {
            groups += 1;
            digit |= text[at..end].iter().any(u8::is_ascii_digit);
        }
        at = end;
        if byte(text, at) != b':' || groups == 8 {
            break;
        }
        if byte(text, at + 1) == b':' {
            if gap {
                return None;
            }
            gap = true;
            at += 2;
            if !hex(byte(text, at)) {
                break;
            }
        } else if hex(byte(text, at + 1)) {
            at += 1;
        } else {
            break;
        }
    }
    let whole = if gap { (1..8).contains(&groups) } else { groups == 8 };
    let next = byte(text, at);
    let ends = free(next)
        && !(next == b'.' && byte(text, at + 1).is_ascii_digit())
        && (next != b':' || !hex(byte(text, at + 1)) && byte(text, at + 1) != b':');
    if whole && digit && ends {
        Some((from, at))
    } else {
        None
    }
}
