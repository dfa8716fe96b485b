//! Records that a module makes (ABI §4.4).

use crate::output::{close, operation, VERDICT_HEADER};
use crate::record::{load16, load32, Kind, View};
use crate::record::{ABSENT, NO_TIME};
use crate::record::{APP, ATTRS, ATTR_COUNT, ATTR_HEADER, FACILITY, HEADER, HOST, MESSAGE, MSGID};
use crate::record::{PROCID, SD, SEVERITY, STREAM, TIME};
use crate::List;

/// A record a module makes: by `emit` beside the one at hand, or by `replace` in
/// its place. What is not set is absent. The host fills in where it came from
/// (receive time, input, peer, agent, origin): a module cannot forge that.
///
/// It stands encoded at the end of the output and is well-formed at any time.
pub struct New<'a> {
    out: &'a mut List,
    /// Where its verdict begins.
    at: usize,
    parent: Option<View<'a>>,
}

impl<'a> New<'a> {
    /// Begins a record in the verdict at `at`, whose header has just been written.
    pub(crate) fn begin(out: &'a mut List, at: usize, parent: Option<View<'a>>) -> Self {
        let mut fixed = [0; HEADER];
        fixed[0] = HEADER as u8;
        fixed[SEVERITY] = ABSENT;
        fixed[FACILITY] = ABSENT;
        fixed[TIME..TIME + 8].copy_from_slice(&NO_TIME.to_le_bytes());
        out.extend(&fixed);
        close(out, at);
        New { out, at, parent }
    }

    fn fixed(&mut self, at: usize, bytes: &[u8]) {
        let from = self.at + VERDICT_HEADER + at;
        self.out[from..from + bytes.len()].copy_from_slice(bytes);
    }

    fn get(&self, at: usize, wide: bool) -> usize {
        let record = &self.out[self.at + VERDICT_HEADER..];
        assert!(record.len() >= HEADER);
        unsafe {
            if wide {
                load32(record.as_ptr(), at)
            } else {
                load16(record.as_ptr(), at)
            }
        }
    }

    /// Puts a text in the place of a variable part, whose length stands at `at` and
    /// that begins `from` bytes into the record.
    fn splice(mut self, at: usize, from: usize, text: &[u8]) -> Self {
        let wide = at >= SD;
        let text = if wide { text } else { &text[..text.len().min(0xffff)] };
        let old = self.get(at, wide);
        let from = self.at + VERDICT_HEADER + from;
        self.out.splice(from, old, text);
        let length = (text.len() as u32).to_le_bytes();
        self.fixed(at, if wide { &length } else { &length[..2] });
        self.resize();
        self
    }

    fn resize(&mut self) {
        close(self.out, self.at);
        let size = (self.out.len() - self.at - VERDICT_HEADER) as u32;
        self.fixed(0, &size.to_le_bytes());
    }

    /// Where the text begins whose length stands at `end`.
    fn start(&self, end: usize) -> usize {
        let short = (HOST..end.min(ATTR_COUNT)).step_by(2).map(|i| self.get(i, false)).sum::<usize>();
        let wide = (SD..end.max(SD)).step_by(4).map(|i| self.get(i, true)).sum::<usize>();
        HEADER + short + wide
    }

    fn text(self, at: usize, text: &[u8]) -> Self {
        let from = self.start(at);
        self.splice(at, from, text)
    }

    /// Takes over everything of the record at hand. Call it first; in a tick there
    /// is none.
    pub fn copy(self) -> Self {
        if let Some(parent) = self.parent {
            self.out.truncate(self.at + VERDICT_HEADER);
            self.out.extend(parent.encoded());
            close(self.out, self.at);
        }
        self
    }

    /// Sets the severity: 0 to 7, or [`ABSENT`].
    pub fn severity(mut self, severity: u8) -> Self {
        self.fixed(SEVERITY, &[severity]);
        self
    }

    /// Sets the facility: 0 to 23, or [`ABSENT`].
    pub fn facility(mut self, facility: u8) -> Self {
        self.fixed(FACILITY, &[facility]);
        self
    }

    /// Sets the event time: nanoseconds since 1970 UTC, or [`NO_TIME`].
    pub fn time(mut self, time: i64) -> Self {
        self.fixed(TIME, &time.to_le_bytes());
        self
    }

    /// Sets the host's name.
    pub fn host(self, host: impl AsRef<[u8]>) -> Self {
        self.text(HOST, host.as_ref())
    }

    /// Sets the APP-NAME.
    pub fn app(self, app: impl AsRef<[u8]>) -> Self {
        self.text(APP, app.as_ref())
    }

    /// Sets the PROCID.
    pub fn procid(self, procid: impl AsRef<[u8]>) -> Self {
        self.text(PROCID, procid.as_ref())
    }

    /// Sets the MSGID.
    pub fn msgid(self, msgid: impl AsRef<[u8]>) -> Self {
        self.text(MSGID, msgid.as_ref())
    }

    /// Sends it to a stream of the config.
    pub fn route(self, stream: impl AsRef<[u8]>) -> Self {
        self.text(STREAM, stream.as_ref())
    }

    /// Sets the STRUCTURED-DATA, given as it stands in a message.
    pub fn sd(self, sd: impl AsRef<[u8]>) -> Self {
        self.text(SD, sd.as_ref())
    }

    /// Sets the text.
    pub fn message(self, message: impl AsRef<[u8]>) -> Self {
        self.text(MESSAGE, message.as_ref())
    }

    /// Sets an attribute to a text.
    pub fn set(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.attr(Kind::String, key.as_ref(), value.as_ref())
    }

    /// Sets an attribute to an integer.
    pub fn set_int(self, key: impl AsRef<[u8]>, value: i64) -> Self {
        self.attr(Kind::Int, key.as_ref(), &value.to_le_bytes())
    }

    /// Sets an attribute to a number.
    pub fn set_float(self, key: impl AsRef<[u8]>, value: f64) -> Self {
        self.attr(Kind::Float, key.as_ref(), &value.to_bits().to_le_bytes())
    }

    /// Sets an attribute to true or false.
    pub fn set_bool(self, key: impl AsRef<[u8]>, value: bool) -> Self {
        self.attr(Kind::Bool, key.as_ref(), &[value as u8])
    }

    /// Sets an attribute to a JSON array, object or null, given as text.
    pub fn set_json(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.attr(Kind::Json, key.as_ref(), value.as_ref())
    }

    fn attr(mut self, kind: Kind, key: &[u8], value: &[u8]) -> Self {
        let mut count = self.get(ATTR_COUNT, false);
        if let Some((from, size)) = self.find(key) {
            self.out.splice(from, size, &[]);
            count -= 1;
        }
        operation(self.out, kind as u8, key, value);
        self.fixed(ATTR_COUNT, &(count as u16 + 1).to_le_bytes());
        let attrs = self.out.len() - self.at - VERDICT_HEADER - self.start(ATTRS);
        self.fixed(ATTRS, &(attrs as u32).to_le_bytes());
        self.resize();
        self
    }

    /// Where in the output the attribute of that name is, and its size.
    fn find(&self, key: &[u8]) -> Option<(usize, usize)> {
        let mut at = self.at + VERDICT_HEADER + self.start(ATTRS);
        while at < self.out.len() {
            let p = unsafe { self.out.as_ptr().add(at) };
            let (k, v) = unsafe { (load16(p, 2), load32(p, 4)) };
            if &self.out[at + ATTR_HEADER..at + ATTR_HEADER + k] == key {
                return Some((at, ATTR_HEADER + k + v));
            }
            at += ATTR_HEADER + k + v;
        }
        None
    }
}
