//! The module's config.

use crate::{json, parse_int, List};
use core::cell::Cell;
use core::str;

/// The module's config: a JSON object, read key by key with the type the module
/// expects. A value of another type, and what [`problem`](Config::problem) is told,
/// makes the host refuse the module with that line. Texts stay for as long as the
/// module does.
pub struct Config<'a> {
    /// The object, well-formed.
    text: &'static str,
    /// The path of this object, for messages.
    at: &'static str,
    bad: &'a Cell<bool>,
}

impl<'a> Config<'a> {
    pub(crate) fn parse(text: &'static [u8], bad: &'a Cell<bool>) -> Self {
        let mut config = Config { text: "{}", at: "", bad };
        match str::from_utf8(text) {
            Ok("") | Ok("null") => (),
            Ok(text) if json::fields(text, |_, _| ()) => config.text = text,
            _ => config.problem("it is not a JSON object"),
        }
        config
    }

    /// Refuses the config, with a message for whoever wrote it.
    pub fn problem(&self, message: impl AsRef<[u8]>) {
        self.bad.set(true);
        crate::error(message);
    }

    /// A value as JSON text.
    pub fn raw(&self, key: &str) -> Option<&'static str> {
        json::field(self.text.as_bytes(), key)
    }

    /// The keys in the order they came.
    pub fn keys(&self) -> &'static [&'static str] {
        let mut keys = List::new();
        json::fields(self.text, |key, _| json::text(key).map(|text| keys.push(leak(text))).unwrap_or(()));
        keys.leak()
    }

    /// Refuses every key that is not among these: call it once with all the keys the
    /// module reads, so that a misspelt one does not go unseen.
    pub fn known(&self, keys: &[&str]) {
        for key in self.keys() {
            if keys.contains(key) {
                continue;
            }
            let mut line = concat(&["unknown key \"", self.at, key, "\"; known are: "]);
            for (i, key) in keys.iter().enumerate() {
                line.extend(if i > 0 { b", " } else { b"" });
                line.extend(key.as_bytes());
            }
            self.problem(line);
        }
    }

    /// Reads a value, or says that it is wrong.
    fn get<T>(&self, key: &str, want: &str, read: impl Fn(&'static str) -> Option<T>) -> Option<T> {
        let raw = self.raw(key)?;
        let value = read(raw);
        if value.is_none() {
            let mut cut = raw.len().min(40);
            while !raw.is_char_boundary(cut) {
                cut -= 1;
            }
            let dots = if cut < raw.len() { "…" } else { "" };
            let short = raw.get(..cut).unwrap_or(raw);
            self.problem(concat(&[self.at, key, " is ", short, dots, ", not ", want]));
        }
        value
    }

    /// A boolean, or the default where the key is absent.
    pub fn bool(&self, key: &str, default: bool) -> bool {
        let read = |raw| match raw {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        };
        self.get(key, "true or false", read).unwrap_or(default)
    }

    /// An integer, or the default where the key is absent.
    pub fn int(&self, key: &str, default: i64) -> i64 {
        self.get(key, "a whole number", parse_int).unwrap_or(default)
    }

    /// A text, or the default where the key is absent.
    pub fn text(&self, key: &str, default: &'static str) -> &'static str {
        self.get(key, "a text", |raw| json::text(raw).map(leak)).unwrap_or(default)
    }

    /// A list of texts, empty where the key is absent.
    pub fn texts(&self, key: &str) -> &'static [&'static str] {
        let read = |raw| {
            let (mut texts, mut all) = (List::new(), true);
            let ok = json::list(raw, |value| match json::text(value) {
                Some(text) => texts.push(leak(text)),
                None => all = false,
            });
            if ok && all {
                Some(texts.leak())
            } else {
                None
            }
        };
        self.get(key, "a list of texts", read).unwrap_or_default()
    }

    /// An object within this one, empty where the key is absent.
    pub fn object(&self, key: &str) -> Config<'a> {
        let read = |raw| if json::fields(raw, |_, _| ()) { Some(raw) } else { None };
        let text = self.get(key, "an object", read).unwrap_or("{}");
        Config { text, at: leak(concat(&[self.at, key, "."])), bad: self.bad }
    }
}

fn concat(parts: &[&str]) -> List {
    let mut line = List::new();
    parts.iter().for_each(|part| line.extend(part.as_bytes()));
    line
}

/// A text of the config, which is UTF-8 as the whole of it is.
fn leak(text: List) -> &'static str {
    str::from_utf8(text.leak()).unwrap_or("")
}
