//! Secrets that are known by what stands before them: `password=x`, `"token": "x"`,
//! `https://user:x@host`.

use crate::cookie;
use crate::find::{before, byte, run};

/// What the name of a secret ends with, in lower case, `_` for `-` too; of those
/// that end with the letter. Most names end here.
fn names(letter: u8) -> &'static [&'static [u8]] {
    match letter {
        b'd' => &[b"password", b"passwd", b"pwd"],
        b'e' => &[b"passphrase", b"passcode"],
        b't' => &[b"secret"],
        b'n' => &[b"token", b"authorization"],
        b'y' => &[
            b"api_key",
            b"apikey",
            b"access_key",
            b"accesskey",
            b"secret_key",
            b"secretkey",
            b"private_key",
            b"privatekey",
            b"auth_key",
            b"client_key",
        ],
        b's' => &[b"credentials"],
        _ => &[],
    }
}

/// Says whether a name is that of a secret.
pub fn named(name: &[u8]) -> bool {
    let letter = lower(before(name, name.len()));
    names(letter).iter().any(|secret| ends_with(name, secret)) || cookie::session(name)
}

#[inline(always)]
fn lower(c: u8) -> u8 {
    match c {
        b'-' => b'_',
        _ => c.to_ascii_lowercase(),
    }
}

pub fn ends_with(name: &[u8], secret: &[u8]) -> bool {
    name.len() >= secret.len() && name.iter().rev().zip(secret.iter().rev()).all(|(a, b)| lower(*a) == *b)
}

/// The value behind the = or : at i, if the name before it is a secret's. It looks
/// 16 bytes back, and forth to the end of the value, which is then stepped over.
pub fn value(text: &[u8], floor: usize, i: usize) -> Option<(usize, usize)> {
    let colon = text[i] == b':';
    let mut end = i;
    while end > floor && i - end < 3 && matches!(text[end - 1], b' ' | b'"' | b'\'' | b'\\') {
        end -= 1;
    }
    if colon && text[floor..end].ends_with(b" is") {
        end -= 3; // "the passphrase is: x"
    }
    let name = &text[floor..end];
    if !named(name) {
        return cookie::value(text, name, i);
    }
    let quoted_name = end < i && text[end] != b' ';
    let from = run(text, i + 1, |c| c == b' ' || c == b'\t');
    if colon && !quoted_name && ends_with(name, b"token") && !looks_random(&text[from..]) {
        return None; // "unexpected token: end of file"
    }
    let inner = from + matches!(byte(text, from), b'"' | b'\'') as usize;
    if folder(name, &text[inner.min(text.len())..]) {
        return None;
    }
    let hit = quoted(text, from).or_else(|| bare(text, from))?;
    Some(hit).filter(|(from, to)| !harmless(&text[*from..*to]))
}

/// Says whether this is the folder that a shell is in, as in every line of sudo:
/// `PWD=/home/bob`. Not behind a semicolon, as the password of a database is:
/// `UID=sa;PWD=/x9`.
pub fn folder(name: &[u8], value: &[u8]) -> bool {
    let rest = match name.strip_suffix(b"PWD") {
        Some(rest) => rest.strip_suffix(b"OLD").unwrap_or(rest),
        None => return false,
    };
    matches!(before(rest, rest.len()), 0 | b' ' | b'\t' | b'\n' | b'"' | b'\'' | b'(' | b'[' | b'{' | b',')
        && matches!(byte(value, 0), b'/' | b'~')
}

/// What a value may be that gives nothing away.
fn harmless(value: &[u8]) -> bool {
    matches!(
        value,
        b"" | b"YES"
            | b"NO"
            | b"null"
            | b"nil"
            | b"none"
            | b"None"
            | b"true"
            | b"false"
            | b"undefined"
            | b"unknown"
            | b"-"
    ) || value.iter().all(|c| *c == b'*')
        || value.len() >= 3 && value.iter().all(|c| matches!(c, b'x' | b'X' | b'.'))
}

/// Says whether a word begins here that has eight letters or more and a digit among
/// the first 32: so far only, as a text can be nothing but `token:token:`.
fn looks_random(text: &[u8]) -> bool {
    let start = &text[..text.len().min(32)];
    let word = &start[..run(start, 0, |c| c > b' ')];
    word.len() >= 8 && word.iter().any(u8::is_ascii_digit)
}

/// A value in quotes, which may be escaped themselves, as in JSON within JSON.
fn quoted(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let escaped = byte(text, from) == b'\\';
    let open = from + escaped as usize;
    let quote = byte(text, open);
    if quote != b'"' && quote != b'\'' {
        return None;
    }
    let from = scheme(text, open + 1);
    let mut at = from;
    while at < text.len() && text[at] != quote {
        if text[at] == b'\\' {
            if escaped && byte(text, at + 1) == quote {
                break;
            }
            at += 1;
        }
        at += 1;
    }
    Some((from, at.min(text.len())))
}

/// A value without quotes: to a space or a mark that ends it.
fn bare(text: &[u8], from: usize) -> Option<(usize, usize)> {
    let from = scheme(text, from);
    if matches!(byte(text, from), b'{' | b'[' | b'<' | b'(' | b'=' | b'%' | b'$') {
        return None; // a structure, a comparison, a place for a value
    }
    let ends = |c: u8| {
        c <= b' ' || matches!(c, b',' | b';' | b'&' | b'"' | b'\'' | b')' | b']' | b'}' | b'>' | b'<' | b'|')
    };
    Some((from, run(text, from, |c| !ends(c))))
}

/// Steps over the scheme of an Authorization header.
fn scheme(text: &[u8], from: usize) -> usize {
    for scheme in [&b"bearer "[..], b"basic ", b"token ", b"digest "] {
        if text[from..].get(..scheme.len()).map_or(false, |t| t.eq_ignore_ascii_case(scheme)) {
            return from + scheme.len();
        }
    }
    from
}

/// The password in the URL whose @ is at i (RFC 3986 §3.2.1). It does not look
/// beyond another @.
pub fn in_url(text: &[u8], floor: usize, i: usize) -> Option<(usize, usize)> {
    let (mut at, mut colon) = (i, None);
    while at > floor
        && text[at - 1] > b' '
        && !matches!(text[at - 1], b'/' | b'@' | b'"' | b'\'' | b'<' | b'>')
    {
        at -= 1;
        if text[at] == b':' {
            colon = Some(at);
        }
    }
    let from = colon? + 1;
    if at < 3 || !text[..at].ends_with(b"://") || from == i {
        return None;
    }
    Some((from, i))
}
