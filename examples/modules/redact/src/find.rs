//! Where the secrets in a text are. One pass: a table says at which bytes a secret
//! can be seen, and each kind then looks only a bounded way back and forth, or
//! over bytes that no other look goes over again. So the time is linear in the text,
//! whatever is in it.

use crate::{address, card, command, secret, token};

/// The kinds of secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    Card,
    Email,
    Token,
    Secret,
    Key,
    Ip,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 6] = [Kind::Card, Kind::Email, Kind::Token, Kind::Secret, Kind::Key, Kind::Ip];

    /// Its name in a replacement.
    pub fn singular(self) -> &'static str {
        ["card", "email", "token", "secret", "key", "ip"][self as usize]
    }

    /// Its name in the config.
    pub fn plural(self) -> &'static str {
        ["cards", "emails", "tokens", "secrets", "keys", "ips"][self as usize]
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Default)]
pub struct Kinds(u8);

impl Kinds {
    /// Adds a kind, or does not.
    pub fn add(&mut self, kind: Kind, yes: bool) {
        self.0 |= (yes as u8) << kind as u8;
    }

    /// Says whether the kind is among them.
    pub fn has(self, kind: Kind) -> bool {
        self.0 >> kind as u8 & 1 != 0
    }
}

/// A secret: the bytes from..to of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where it begins.
    pub from: usize,
    /// Where it ends.
    pub to: usize,
    /// What it is.
    pub kind: Kind,
}

/// The secrets of a text, in their order; none overlap.
pub struct Finder<'t> {
    text: &'t [u8],
    kinds: Kinds,
    at: usize,
    /// Where the last secret ended: none begins before.
    floor: usize,
    /// Up to where it is known that no JWT begins.
    no_jwt: usize,
}

/// At which bytes a secret can be seen, and of which kind it may then be.
static SEEN: [u8; 256] = {
    let mut t = [0; 256];
    let mut c = b'0';
    while c <= b'9' {
        t[c as usize] = DIGIT;
        c += 1;
    }
    t[b'@' as usize] = AT;
    t[b'=' as usize] = EQUALS;
    t[b':' as usize] = COLON;
    t[b'B' as usize] = BEARER;
    t[b'b' as usize] = BEARER;
    t[b'J' as usize] = TOKEN;
    t[b'K' as usize] = TOKEN;
    t[b'_' as usize] = TOKEN;
    t[b'-' as usize] = TOKEN;
    t
};

const DIGIT: u8 = 1;
const AT: u8 = 2;
const EQUALS: u8 = 3;
const COLON: u8 = 4;
const BEARER: u8 = 5;
const TOKEN: u8 = 6;

impl<'t> Finder<'t> {
    /// Looks for secrets of these kinds.
    pub fn new(kinds: Kinds, text: &'t [u8]) -> Self {
        Self::at(kinds, text, 0)
    }

    /// Looks from a place on, where a secret ended.
    pub fn at(kinds: Kinds, text: &'t [u8], at: usize) -> Self {
        Finder { text, kinds, at, floor: at, no_jwt: 0 }
    }

    /// Steps to the next byte at which a secret can be seen, eight at a time where
    /// there is none: a turn of a loop is what costs in a guest.
    #[inline(always)]
    fn skip(&mut self) -> u8 {
        let text = self.text;
        let mut i = self.at;
        while let Some(&[a, b, c, d, e, f, g, h]) = text.get(i..).and_then(|t| t.get(..8)) {
            let s = |c: u8| SEEN[c as usize];
            if s(a) | s(b) | s(c) | s(d) | s(e) | s(f) | s(g) | s(h) != 0 {
                break;
            }
            i += 8;
        }
        while i < text.len() {
            let seen = SEEN[text[i] as usize];
            if seen != 0 {
                self.at = i;
                return seen;
            }
            i += 1;
        }
        self.at = i;
        0
    }

    fn found(&mut self, kind: Kind, from: usize, to: usize) -> Option<Hit> {
        if !self.kinds.has(kind) || from < self.floor || from >= to {
            return None;
        }
        self.at = to;
        self.floor = to;
        Some(Hit { from, to, kind })
    }

    /// The secret that the byte at hand shows, which steps over it; or steps over
    /// what is none.
    #[inline(never)]
    fn look(&mut self, seen: u8) -> Option<Hit> {
        let (text, i) = (self.text, self.at);
        match seen {
            DIGIT => self.digits(),
            AT => {
                self.at = i + 1;
                if self.kinds.has(Kind::Secret) {
                    if let Some((from, to)) = secret::in_url(text, self.floor, i) {
                        return self.found(Kind::Secret, from, to);
                    }
                }
                let (from, to) = address::email(text, self.floor, i)?;
                self.found(Kind::Email, from, to)
            }
            EQUALS | COLON => {
                self.at = i + 1;
                if self.kinds.has(Kind::Secret) {
                    if let Some((from, to)) = secret::value(text, self.floor, i) {
                        return self.found(Kind::Secret, from, to);
                    }
                    if seen == COLON {
                        if let Some((from, to)) = command::curl(text, self.floor, i) {
                            return self.found(Kind::Secret, from, to);
                        }
                    }
                }
                if seen == COLON && self.kinds.has(Kind::Ip) {
                    let (from, to) = address::ipv6(text, self.floor, i)?;
                    return self.found(Kind::Ip, from, to);
                }
                None
            }
            BEARER => {
                self.at = i + 1;
                if self.kinds.has(Kind::Key) {
                    if let Some((from, to)) = token::key_block(text, i) {
                        return self.found(Kind::Key, from, to);
                    }
                }
                if !self.kinds.has(Kind::Token) {
                    return None;
                }
                let (from, to) = token::bearer(text, i)?;
                self.found(Kind::Token, from, to)
            }
            _ => {
                self.at = i + 1;
                if self.kinds.has(Kind::Secret) && text[i] == b'-' && byte(text, i + 1) == b'p' {
                    if let Some((from, to)) = command::mysql(text, self.floor, i) {
                        return self.found(Kind::Secret, from, to);
                    }
                }
                if !self.kinds.has(Kind::Token) {
                    return None; // a look whose find is not taken is one over the same bytes again
                }
                let (from, to) = token::at(text, i, &mut self.no_jwt)?;
                self.found(Kind::Token, from, to)
            }
        }
    }

    /// A card number, an IP address, or the digits of neither.
    fn digits(&mut self) -> Option<Hit> {
        let (text, i) = (self.text, self.at);
        let mut end = i + 1;
        while end < text.len() && text[end].is_ascii_digit() {
            end += 1;
        }
        self.at = end;
        if self.kinds.has(Kind::Card) && (end - i == 4 || end - i >= 13) {
            if let Some(to) = card::at(text, i) {
                return self.found(Kind::Card, i, to);
            }
        }
        if self.kinds.has(Kind::Ip) && end - i <= 3 {
            let to = address::ipv4(text, i)?;
            return self.found(Kind::Ip, i, to);
        }
        None
    }
}

impl Iterator for Finder<'_> {
    type Item = Hit;

    #[inline(never)]
    fn next(&mut self) -> Option<Hit> {
        loop {
            match self.skip() {
                0 => return None,
                seen => {
                    if let Some(hit) = self.look(seen) {
                        return Some(hit);
                    }
                }
            }
        }
    }
}

/// The byte at a place, or 0 beyond the text.
#[inline(always)]
pub fn byte(text: &[u8], at: usize) -> u8 {
    if at < text.len() {
        text[at]
    } else {
        0
    }
}

/// The byte before a place, or 0 at the beginning.
#[inline(always)]
pub fn before(text: &[u8], at: usize) -> u8 {
    if at > 0 {
        byte(text, at - 1)
    } else {
        0
    }
}

/// Where the run of bytes from a place on ends for which `f` holds.
#[inline(always)]
pub fn run(text: &[u8], mut at: usize, f: impl Fn(u8) -> bool) -> usize {
    while at < text.len() && f(text[at]) {
        at += 1;
    }
    at
}
