//! JSON as far as a module needs it (RFC 8259, to depth 100): it splits a text into
//! raw values. What a value means is the caller's business.

use crate::List;
use core::str;

/// Calls f with each field of an object: its key as quoted, and its value as JSON
/// text. It says whether the text is a well-formed object, which it may find out late.
pub fn fields<'a>(text: &'a str, mut f: impl FnMut(&'a str, &'a str)) -> bool {
    let mut p = Parser { s: text, i: 0, depth: 0 };
    p.object(&mut f) && !p.more()
}

/// Calls f with each value of a list, and says whether the text is a well-formed list.
pub fn list<'a>(text: &'a str, mut f: impl FnMut(&'a str)) -> bool {
    let mut p = Parser { s: text, i: 0, depth: 0 };
    p.list(&mut f) && !p.more()
}

/// One field of an object, as JSON text: for the rows that
/// [`lookup`](crate::lookup) gives.
pub fn field<'a>(object: &'a [u8], key: &str) -> Option<&'a str> {
    let mut found = None;
    fields(str::from_utf8(object).ok()?, |k, value| {
        if means(k, key) {
            found = Some(value)
        }
    });
    found
}

/// Says whether a quoted text means `plain`.
pub fn means(raw: &str, plain: &str) -> bool {
    match text(raw) {
        Some(text) => *text == *plain.as_bytes(),
        None => false,
    }
}

/// What a quoted text means; a broken escape stands for itself. None: the JSON text
/// is no quoted one.
pub fn text(raw: &str) -> Option<List> {
    if raw.len() < 2 || !raw.starts_with('"') {
        return None;
    }
    let mut text = List::new();
    let mut rest = &raw.as_bytes()[1..raw.len() - 1];
    while let Some(at) = rest.iter().position(|c| *c == b'\\') {
        text.extend(&rest[..at]);
        rest = &rest[at + 1..];
        let (c, n) = match rest.first() {
            Some(b'n') => ('\n', 1),
            Some(b't') => ('\t', 1),
            Some(b'r') => ('\r', 1),
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'u') => code_point(&rest[1..]),
            Some(c @ 0..=0x7f) => (*c as char, 1),
            _ => continue,
        };
        text.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[n..];
    }
    text.extend(rest);
    Some(text)
}

/// How deep values nest: deeper than any a record has.
const DEPTH: u32 = 100;

struct Parser<'a> {
    s: &'a str,
    i: usize,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> u8 {
        self.s.as_bytes().get(self.i).copied().unwrap_or(0)
    }

    /// Says whether anything but space is left.
    fn more(&mut self) -> bool {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.i += 1;
        }
        self.i < self.s.len()
    }

    fn take(&mut self, c: u8) -> bool {
        let is = self.more() && self.peek() == c;
        self.i += is as usize;
        is
    }

    fn object(&mut self, each: &mut dyn FnMut(&'a str, &'a str)) -> bool {
        if !self.take(b'{') {
            return false;
        }
        if self.take(b'}') {
            return true;
        }
        loop {
            let key = match self.value() {
                Some(key) if key.starts_with('"') => key,
                _ => return false,
            };
            if !self.take(b':') {
                return false;
            }
            match self.value() {
                Some(value) => each(key, value),
                None => return false,
            }
            if self.take(b'}') {
                return true;
            }
            if !self.take(b',') {
                return false;
            }
        }
    }

    fn list(&mut self, each: &mut dyn FnMut(&'a str)) -> bool {
        if !self.take(b'[') {
            return false;
        }
        if self.take(b']') {
            return true;
        }
        loop {
            match self.value() {
                Some(value) => each(value),
                None => return false,
            }
            if self.take(b']') {
                return true;
            }
            if !self.take(b',') {
                return false;
            }
        }
    }

    /// The raw text of the next value, which is never empty.
    fn value(&mut self) -> Option<&'a str> {
        if !self.more() {
            return None;
        }
        let from = self.i;
        let ok = match self.peek() {
            b'"' => self.quoted(),
            c @ (b'{' | b'[') => {
                self.depth += 1;
                let ok = self.depth <= DEPTH
                    && if c == b'{' { self.object(&mut |_, _| ()) } else { self.list(&mut |_| ()) };
                self.depth -= 1;
                ok
            }
            _ => self.word(),
        };
        if ok {
            self.s.get(from..self.i)
        } else {
            None
        }
    }

    fn quoted(&mut self) -> bool {
        self.i += 1;
        while self.i < self.s.len() {
            match self.peek() {
                b'\\' => self.i += 1,
                b'"' => {
                    self.i += 1;
                    return true;
                }
                _ => (),
            }
            self.i += 1;
        }
        false
    }

    fn word(&mut self) -> bool {
        let from = self.i;
        while matches!(self.peek(), b'0'..=b'9' | b'a'..=b'z' | b'-' | b'+' | b'.' | b'E') {
            self.i += 1;
        }
        let word = &self.s.as_bytes()[from..self.i];
        let digit = |i: usize| word.get(i).map_or(false, u8::is_ascii_digit);
        matches!(word, b"true" | b"false" | b"null") || digit(0) || word.first() == Some(&b'-') && digit(1)
    }
}

/// Reads four hex digits behind a u, and the low surrogate that follows a high one.
fn code_point(s: &[u8]) -> (char, usize) {
    const UNKNOWN: char = '\u{fffd}';
    let high = match hex(s) {
        Some(n) => n,
        None => return (UNKNOWN, 1),
    };
    if let Some(c) = char::from_u32(high) {
        return (c, 5);
    }
    if high < 0xdc00 && s.len() >= 10 && s[4..6] == *b"\\u" {
        if let Some(low @ 0xdc00..=0xdfff) = hex(&s[6..]) {
            let c = ((high - 0xd800) << 10) + (low - 0xdc00) + 0x10000;
            return (char::from_u32(c).unwrap_or(UNKNOWN), 11);
        }
    }
    (UNKNOWN, 5)
}

fn hex(s: &[u8]) -> Option<u32> {
    let mut n = 0;
    for c in s.get(..4)? {
        n = n << 4 | (*c as char).to_digit(16)?;
    }
    Some(n)
}
