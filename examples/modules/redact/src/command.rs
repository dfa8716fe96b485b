//! Passwords in command lines, which sudo, cron and auditd write down. Each look
//! back is bounded, and is for a command by its name: `-u` and `-p` mean other
//! things to others.

use crate::find::{before, byte, run};

/// How far a command's name is looked for, and a user's.
const LINE: usize = 512;
const USER: usize = 64;

/// The password behind the : at i in `curl -u user:password`.
#[inline(never)]
pub fn curl(text: &[u8], floor: usize, i: usize) -> Option<(usize, usize)> {
    if matches!(byte(text, i + 1), 0..=b' ' | b'"' | b'/' | b':' | b'[' | b'{') {
        return None; // most colons are of prose, JSON and URLs
    }
    let least = floor.max(i.saturating_sub(USER));
    let mut user = i;
    while user > least
        && text[user - 1] > b' '
        && !matches!(text[user - 1], b'"' | b'\'' | b'=' | b'/' | b':')
    {
        user -= 1;
    }
    let option = match before(text, user) {
        _ if byte(text, user) == b'-' => user + 2, // -uuser:password
        b' ' | b'=' => user - 1,
        b'"' | b'\'' if matches!(before(text, user - 1), b' ' | b'=') => user - 2,
        _ => return None,
    };
    let option = text.get(floor..option.min(i))?;
    let options: [&[u8]; 4] = [b" -u", b" -U", b" --user", b" --proxy-user"];
    if !options.iter().any(|o| option.ends_with(o)) || !named(text, floor, i, &[b"curl"]) {
        return None;
    }
    let quote = if option.len() + floor < user { before(text, user) } else { 0 };
    some(i + 1, end(text, i + 1, quote))
}

/// The password behind the -p at i in `mysql -ppassword`.
#[inline(never)]
pub fn mysql(text: &[u8], floor: usize, i: usize) -> Option<(usize, usize)> {
    const CLIENTS: [&[u8]; 5] = [b"mysql", b"mysqldump", b"mysqladmin", b"mariadb", b"mariadb-dump"];
    if before(text, i) != b' ' || byte(text, i + 2) <= b' ' {
        return None;
    }
    if !named(text, floor, i, &CLIENTS) {
        return None;
    }
    let quote = byte(text, i + 2);
    let from = i + 2 + matches!(quote, b'"' | b'\'') as usize;
    some(from, end(text, from, quote))
}

fn some(from: usize, to: usize) -> Option<(usize, usize)> {
    if from < to {
        Some((from, to))
    } else {
        None
    }
}

/// Where a word ends: at its closing quote, or at a space.
fn end(text: &[u8], from: usize, quote: u8) -> usize {
    match quote {
        b'"' | b'\'' => run(text, from, |c| c != quote),
        _ => run(text, from, |c| c > b' ' && !matches!(c, b'"' | b'\'' | b')' | b';' | b'|' | b'&')),
    }
}

/// Says whether the command that the byte at i is in has one of these names.
fn named(text: &[u8], floor: usize, i: usize, names: &[&[u8]]) -> bool {
    let mut at = i;
    let least = floor.max(i.saturating_sub(LINE));
    while at > least && !matches!(text[at - 1], b'|' | b';' | b'&' | b'\n') {
        at -= 1;
        if text[at] == b' ' && names.iter().any(|name| ends_word(&text[floor..at], name)) {
            return true;
        }
    }
    false
}

fn ends_word(text: &[u8], name: &[u8]) -> bool {
    text.strip_suffix(name).map_or(false, |rest| {
        matches!(
            before(rest, rest.len()),
            0 | b' ' | b'/' | b'=' | b'(' | b'"' | b'\'' | b';' | b'|' | b'&' | b'\n' | b'\t'
        )
    })
}
