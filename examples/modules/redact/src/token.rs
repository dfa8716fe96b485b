//! Tokens that are known by their look, and blocks of private keys.

use crate::find::{before, byte, run};

fn word(c: u8) -> bool {
    c.is_ascii_alphanumeric()
}

/// The letters of base64url (RFC 4648 §5).
fn url_safe(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'-' || c == b'_'
}

/// What follows the word Bearer that begins at i (RFC 6750 §2.1).
pub fn bearer(text: &[u8], i: usize) -> Option<(usize, usize)> {
    let rest = &text[i..];
    if rest.len() < 8
        || !rest[..6].eq_ignore_ascii_case(b"bearer")
        || rest[6] != b' '
        || word(before(text, i))
    {
        return None;
    }
    let from = run(text, i + 6, |c| c == b' ');
    let to = run(text, from, |c| url_safe(c) || matches!(c, b'.' | b'~' | b'+' | b'/' | b'='));
    // "bearer of bad news": a token has more than letters, or is long.
    let token = &text[from..to];
    if token.len() >= 20 || token.len() >= 6 && !token.iter().all(|c| c.is_ascii_alphabetic() || *c == b'.') {
        Some((from, to))
    } else {
        None
    }
}

/// The token whose mark is the byte at i: a J of `eyJ`, a K of `AKIA`, the dash or
/// line behind another's prefix.
pub fn at(text: &[u8], i: usize, no_jwt: &mut usize) -> Option<(usize, usize)> {
    match text[i] {
        b'J' => jwt(text, i, no_jwt),
        b'K' => aws(text, i),
        b'_' => lined(text, i),
        _ => dashed(text, i),
    }
}

/// A JSON Web Token (RFC 7519 §3): three parts in base64url, the first two of
/// which are objects. A run of such letters is gone over once: `no_jwt` is its end.
fn jwt(text: &[u8], i: usize, no_jwt: &mut usize) -> Option<(usize, usize)> {
    if i < 2 || i < *no_jwt || &text[i - 2..i] != b"ey" || url_safe(before(text, i - 2)) {
        return None;
    }
    let first = run(text, i, url_safe);
    *no_jwt = first;
    if byte(text, first) != b'.' || !text[first + 1..].starts_with(b"ey") {
        return None;
    }
    let second = run(text, first + 1, url_safe);
    *no_jwt = second;
    if byte(text, second) != b'.' {
        return Some((i - 2, second)); // cut off; what is there can be read
    }
    Some((i - 2, run(text, second + 1, url_safe)))
}

/// An id of an AWS key: AKIA or, for a session, ASKA's like; 20 capitals and digits.
fn aws(text: &[u8], i: usize) -> Option<(usize, usize)> {
    let from = i.checked_sub(1)?;
    let id = text.get(from..from + 20)?;
    let alone = !word(before(text, from)) && !word(byte(text, from + 20));
    if alone && id.starts_with(b"AKIA") && id.iter().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) {
        return Some((from, from + 20));
    }
    None
}

/// Where the token ends that follows a prefix ending at i, if it has so many letters.
fn tail(
    text: &[u8],
    i: usize,
    prefix: &[u8],
    least: usize,
    letter: fn(u8) -> bool,
) -> Option<(usize, usize)> {
    let from = (i + 1).checked_sub(prefix.len())?;
    if &text[from..=i] != prefix || word(before(text, from)) {
        return None;
    }
    let to = run(text, i + 1, letter);
    if to - i > least {
        Some((from, to))
    } else {
        None
    }
}

/// GitHub's tokens (ghp_, gho_, ghu_, ghs_, ghr_, github_pat_) and Stripe's keys.
fn lined(text: &[u8], i: usize) -> Option<(usize, usize)> {
    match before(text, i) {
        b'p' => tail(text, i, b"ghp_", 36, word),
        b'o' => tail(text, i, b"gho_", 36, word),
        b'u' => tail(text, i, b"ghu_", 36, word),
        b's' => tail(text, i, b"ghs_", 36, word),
        b'r' => tail(text, i, b"ghr_", 36, word),
        b't' => tail(text, i, b"github_pat_", 40, |c| word(c) || c == b'_'),
        b'e' => tail(text, i, b"sk_live_", 20, word).or_else(|| tail(text, i, b"rk_live_", 20, word)),
        _ => None,
    }
}

/// GitLab's and Slack's tokens.
fn dashed(text: &[u8], i: usize) -> Option<(usize, usize)> {
    match before(text, i) {
        b't' => tail(text, i, b"glpat-", 20, url_safe),
        b'b' => tail(text, i, b"xoxb-", 20, url_safe),
        b'p' => tail(text, i, b"xoxp-", 20, url_safe),
        b'a' => tail(text, i, b"xoxa-", 20, url_safe),
        b's' => tail(text, i, b"xoxs-", 20, url_safe),
        _ => None,
    }
}

/// What a block of a private key (RFC 7468 §10) whose BEGIN is at i holds; to the end of the
/// text if the block's end is not in it.
pub fn key_block(text: &[u8], i: usize) -> Option<(usize, usize)> {
    if !text[i..].starts_with(b"BEGIN ") || !text[..i].ends_with(b"-----") {
        return None;
    }
    let label = run(text, i, |c| c.is_ascii_uppercase() || c == b' ');
    if !text[i..label].ends_with(b"PRIVATE KEY") || !text[label..].starts_with(b"-----") {
        return None;
    }
    let from = label + 5;
    let mut to = from;
    while to < text.len() && !text[to..].starts_with(b"-----END ") {
        to += 1;
        if text[to..].starts_with(b"\"") {
            break; // the text that it is in ends
        }
    }
    Some((from, to))
}
