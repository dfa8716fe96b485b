//! What is in cookies (RFC 6265 §4): whoever has it is the one who is logged in.

use crate::find::{byte, run};
use crate::secret::ends_with;

/// The longest name of a cookie that is looked for.
const LONGEST: usize = 64;

/// The values behind the = or : at i, if the name before it is that of a header of
/// cookies: from the first value on to the end of the last, and of a cookie that is
/// set, which has one, only that.
pub fn value(text: &[u8], header: &[u8], i: usize) -> Option<(usize, usize)> {
    if !names_cookies(header) {
        return None;
    }
    let mut at = run(text, i + 1, |c| c == b' ');
    at += (byte(text, at) == b'\\') as usize;
    at += matches!(byte(text, at), b'"' | b'\'') as usize;
    let from = pair(text, at)?;
    let mut to = run(text, from, within);
    while !ends_with(header, b"set_cookie") && byte(text, to) == b';' {
        let next = run(text, to + 1, |c| c == b' ');
        match pair(text, next) {
            Some(value) => to = run(text, value, within),
            None => break,
        }
    }
    Some((from, to))
}

/// Says whether an attribute holds cookies.
pub fn attribute(name: &[u8], value: &[u8]) -> bool {
    names_cookies(name) && pair(value, 0).is_some()
}

/// Says whether a name is that of a cookie with a session's id, wherever it stands.
pub fn session(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 4] = [b"phpsessid", b"jsessionid", b"asp.net_sessionid", b"connect.sid"];
    matches!(name, [.., b's' | b'S' | b'n' | b'N', b'i' | b'I', b'd' | b'D'])
        && NAMES.iter().any(|n| ends_with(name, n))
}

#[inline(always)]
fn names_cookies(name: &[u8]) -> bool {
    matches!(name, [.., b'i' | b'I', b'e' | b'E']) && ends_with(name, b"cookie")
}

/// Where the value begins of the pair name=value at a place.
fn pair(text: &[u8], at: usize) -> Option<usize> {
    let name = |c: u8| c > b' ' && c < 0x7f && !matches!(c, b'=' | b';' | b',' | b'"' | b'\'' | b'\\' | b':');
    let end = at + run(&text[at.min(text.len())..text.len().min(at + LONGEST)], 0, name);
    if end > at && byte(text, end) == b'=' {
        Some(end + 1)
    } else {
        None
    }
}

fn within(c: u8) -> bool {
    c > b' ' && !matches!(c, b';' | b',' | b'"' | b'\'' | b'\\')
}
