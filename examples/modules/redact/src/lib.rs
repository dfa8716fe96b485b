//! Redact hides card numbers, e-mail addresses, tokens, passwords, private keys and,
//! if asked to, IP addresses: in the message, the attributes and the structured
//! data. README.md lists its config. This file decides what is looked at; how a
//! secret is found is the business of `find`, and of a file for each kind.
#![cfg_attr(target_arch = "wasm32", no_std)]

mod address;
mod card;
mod command;
mod cookie;
mod find;
mod secret;
mod token;

pub use find::{Finder, Hit, Kind, Kinds};

use runnel::{decimal, Config, List, Record, Text, Value};

runnel::module!(init, process);

/// What the config says.
pub struct Options {
    kinds: Kinds,
    /// What stands before and after the kind's name, if it is to be there.
    before: &'static [u8],
    after: Option<&'static [u8]>,
    keep_last_four: bool,
    /// Attributes that are secret whatever they hold.
    attributes: &'static [&'static str],
    count: bool,
}

/// The longest replacement: even a text of nothing but short secrets then stays
/// within what an output may hold (ABI §4.7), and none escapes by being too many.
const LONGEST: usize = 16;

/// Operations of a PATCH that are used before the record is made anew instead; it
/// may have 256 (ABI §4.3).
const MOST: u32 = 250;

pub fn init(config: &Config) -> Options {
    config.known(&["kinds", "replacement", "keep_last_four", "attributes", "count"]);
    const NAME: &[u8] = b"{kind}";
    let replacement = config.text("replacement", "***").as_bytes();
    let (before, after) = match replacement.windows(NAME.len()).position(|w| w == NAME) {
        Some(at) => (&replacement[..at], Some(&replacement[at + NAME.len()..])),
        None => (replacement, None),
    };
    if before.len() + after.map_or(0, |after| after.len() + "secret".len()) > LONGEST {
        config.problem("replacement is longer than 16 bytes");
    }
    if replacement.iter().any(|c| *c < b' ' || matches!(c, b'"' | b'\\' | b']')) {
        config.problem("replacement has a quote, a backslash, a ] or a control character, which would break JSON and structured data");
    }
    Options {
        kinds: kinds(config),
        before,
        after,
        keep_last_four: config.bool("keep_last_four", false),
        attributes: config.texts("attributes"),
        count: config.bool("count", false),
    }
}

/// All kinds but IP addresses, unless the config lists them.
fn kinds(config: &Config) -> Kinds {
    let mut kinds = Kinds::default();
    if config.raw("kinds").is_none() {
        for kind in Kind::ALL {
            kinds.add(kind, kind != Kind::Ip);
        }
        return kinds;
    }
    for name in config.texts("kinds") {
        match Kind::ALL.iter().find(|kind| kind.plural() == *name) {
            Some(kind) => kinds.add(*kind, true),
            None => {
                config.problem("kinds has one that is none of cards, emails, tokens, secrets, keys and ips")
            }
        }
    }
    kinds
}

pub fn process(options: &mut Options, r: &mut Record) {
    let options = &*options;
    let mut job = Job { options, hits: 0, operations: 0 };
    let (message, sd) = (r.message(), r.sd());
    if let Some(first) = Finder::new(options.kinds, message).next() {
        job.cover(first, message, begins_json(message), &mut r.write_message());
    }
    if !sd.is_empty() {
        if let Some(first) = Finder::new(options.kinds, sd).next() {
            job.cover(first, sd, false, &mut r.write_sd());
        }
    }
    for (key, value) in r.attrs() {
        if job.operations == MOST {
            return job.anew(r);
        }
        job.attribute(r, key, value);
    }
    if options.count && job.hits > 0 {
        r.set_int("redacted", job.hits);
    }
}

fn begins_json(text: &[u8]) -> bool {
    matches!(text.first(), Some(b'{' | b'['))
}

/// The work on one record.
struct Job<'o> {
    options: &'o Options,
    hits: i64,
    operations: u32,
}

impl Job<'_> {
    /// Writes what stands in a secret's place.
    fn replace(&mut self, kind: Kind, out: &mut impl Out) {
        self.hits += 1;
        out.put(self.options.before);
        if let Some(after) = self.options.after {
            out.put(kind.singular().as_bytes());
            out.put(after);
        }
    }

    /// Writes the text without its secrets, the first of which is found already. In
    /// JSON one that is no text, as a number, becomes a text: it stays JSON.
    #[inline(never)]
    fn cover(&mut self, first: Hit, text: &[u8], json: bool, out: &mut impl Out) {
        let mut finder = Finder::at(self.options.kinds, text, first.to);
        let mut quotes = Quotes::default();
        let (mut at, mut next) = (0, Some(first));
        while let Some(hit) = next {
            let plain = &text[at..hit.from];
            out.put(plain);
            let bare = json && !quotes.open_after(plain);
            if bare {
                out.put(b"\"");
            }
            self.replace(hit.kind, out);
            if hit.kind == Kind::Card && self.options.keep_last_four {
                out.put(&card::last_four(&text[hit.from..hit.to]));
            }
            if bare {
                out.put(b"\"");
            }
            at = hit.to;
            next = finder.next();
        }
        out.put(&text[at..]);
    }

    fn attribute(&mut self, r: &mut Record, key: &[u8], value: Value) {
        let before = self.hits;
        if self.options.attributes.iter().any(|name| name.as_bytes() == key) || self.named_secret(key, value)
        {
            self.replace(Kind::Secret, &mut r.write(key, runnel::Kind::String));
        } else if let Value::Int(n) = value {
            self.number(r, key, n);
        } else if let Some(text) = value.text() {
            if let Some(first) = Finder::new(self.options.kinds, text).next() {
                let json = value.kind() == runnel::Kind::Json || begins_json(text);
                self.cover(first, text, json, &mut r.write(key, value.kind()));
            }
        }
        self.operations += (self.hits > before) as u32;
    }

    /// An attribute named like a secret, as what was parsed from password=x, is one
    /// as a whole; but not whether there is one.
    fn named_secret(&self, key: &[u8], value: Value) -> bool {
        let holds = match value {
            Value::Bool(_) => false,
            Value::Json(text) => text != b"null",
            other => other.text() != Some(b""),
        };
        let text = value.text().unwrap_or(b"");
        holds
            && self.options.kinds.has(Kind::Secret)
            && (secret::named(key) && !secret::folder(key, text) || cookie::attribute(key, text))
    }

    fn number(&mut self, r: &mut Record, key: &[u8], n: i64) {
        if n < 1_000_000_000_000 || !self.options.kinds.has(Kind::Card) {
            return;
        }
        let digits = decimal(n);
        let digits = digits.as_ref();
        if card::at(digits, 0).is_some() {
            let mut out = r.write(key, runnel::Kind::String);
            self.cover(Hit { from: 0, to: digits.len(), kind: Kind::Card }, digits, false, &mut out);
        }
    }

    /// A record with more secrets than a PATCH can change goes on without any of its
    /// attributes: better none than one that shows.
    fn anew(&mut self, r: &mut Record) {
        let (mut message, mut sd) = (List::new(), List::new());
        for (text, out) in [(r.message(), &mut message), (r.sd(), &mut sd)] {
            match Finder::new(self.options.kinds, text).next() {
                Some(first) => self.cover(first, text, begins_json(text), out),
                None => out.extend(text),
            }
        }
        let v = **r;
        let n = self.hits;
        let new = r.replace().severity(v.severity()).facility(v.facility()).time(v.time()).host(v.host());
        let new = new.app(v.app()).procid(v.procid()).msgid(v.msgid()).route(v.stream());
        new.sd(&sd).message(&message).set_int("redacted", n);
    }
}

/// Where a text is written to.
trait Out {
    fn put(&mut self, text: &[u8]);
}

impl Out for Text<'_> {
    fn put(&mut self, text: &[u8]) {
        self.push(text);
    }
}

impl Out for List {
    fn put(&mut self, text: &[u8]) {
        self.extend(text);
    }
}

/// Whether one is within a quoted text of JSON.
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    fn open_after(&mut self, text: &[u8]) -> bool {
        for c in text {
            match c {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.open => self.escaped = true,
                b'"' => self.open = !self.open,
                _ => (),
            }
        }
        self.open
    }
}
