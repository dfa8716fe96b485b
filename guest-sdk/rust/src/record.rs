//! Records as they came: the batch encoding (ABI §3). The host has checked it
//! (ABI §3.3), which is what makes the unchecked reads below sound.

use crate::List;
use core::marker::PhantomData;
use core::{ptr, slice};

/// Severity 0 (RFC 5424 §6.2.1).
pub const EMERG: u8 = 0;
/// Severity 1.
pub const ALERT: u8 = 1;
/// Severity 2.
pub const CRIT: u8 = 2;
/// Severity 3.
pub const ERR: u8 = 3;
/// Severity 4.
pub const WARNING: u8 = 4;
/// Severity 5.
pub const NOTICE: u8 = 5;
/// Severity 6.
pub const INFO: u8 = 6;
/// Severity 7.
pub const DEBUG: u8 = 7;
/// A severity or facility that the message did not state.
pub const ABSENT: u8 = 255;
/// An event time that the message did not state.
pub const NO_TIME: i64 = i64::MIN;

/// The header of a batch: "rb", version u16, size u32, count u32, zero u32 (ABI §3.1).
pub(crate) const BATCH_HEADER: usize = 16;

// The fixed header of an encoded record (ABI §3.2).
pub(crate) const SEVERITY: usize = 4;
pub(crate) const FACILITY: usize = 5;
const FLAGS: usize = 6;
pub(crate) const TIME: usize = 8;
const RECEIVED: usize = 16;
pub(crate) const HOST: usize = 24;
pub(crate) const APP: usize = 26;
pub(crate) const PROCID: usize = 28;
pub(crate) const MSGID: usize = 30;
pub(crate) const STREAM: usize = 32;
const INPUT: usize = 34;
const PEER: usize = 36;
const AGENT: usize = 38;
const ORIGIN: usize = 40;
pub(crate) const ATTR_COUNT: usize = 42;
pub(crate) const SD: usize = 44;
pub(crate) const MESSAGE: usize = 48;
pub(crate) const ATTRS: usize = 52;
pub(crate) const HEADER: usize = 56;

/// The fixed part of an attribute: kind u8, zero u8, length of the key u16, of
/// the value u32 (ABI §3.4); read as one word.
pub(crate) const ATTR_HEADER: usize = 8;

#[inline(always)]
pub(crate) unsafe fn load16(p: *const u8, at: usize) -> usize {
    ptr::read_unaligned(p.add(at) as *const u16) as usize
}

#[inline(always)]
pub(crate) unsafe fn load32(p: *const u8, at: usize) -> usize {
    ptr::read_unaligned(p.add(at) as *const u32) as usize
}

#[inline(always)]
pub(crate) unsafe fn load64(p: *const u8, at: usize) -> u64 {
    ptr::read_unaligned(p.add(at) as *const u64)
}

/// A record to read. It is a pointer: copy it freely. What it returns is borrowed
/// from the batch.
#[derive(Clone, Copy)]
pub struct View<'b> {
    p: *const u8,
    batch: PhantomData<&'b [u8]>,
}

impl<'b> View<'b> {
    /// The record at p, which is a well-formed one and lives as long as 'b.
    #[inline(always)]
    pub(crate) unsafe fn at(p: *const u8) -> Self {
        View { p, batch: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn size(self) -> usize {
        unsafe { load32(self.p, 0) }
    }

    /// The whole record as encoded.
    pub(crate) fn encoded(self) -> &'b [u8] {
        self.bytes(0, self.size())
    }

    #[inline(always)]
    fn bytes(self, at: usize, n: usize) -> &'b [u8] {
        unsafe { slice::from_raw_parts(self.p.add(at), n) }
    }

    #[inline(always)]
    fn length(self, field: usize) -> usize {
        unsafe { load16(self.p, field) }
    }

    /// 0 (emerg) to 7 (debug), or [`ABSENT`].
    #[inline(always)]
    pub fn severity(self) -> u8 {
        unsafe { *self.p.add(SEVERITY) }
    }

    /// 0 to 23, or [`ABSENT`].
    #[inline(always)]
    pub fn facility(self) -> u8 {
        unsafe { *self.p.add(FACILITY) }
    }

    /// What happened to the record on its way in (ABI §3.2).
    pub fn flags(self) -> u16 {
        unsafe { load16(self.p, FLAGS) as u16 }
    }

    /// The event time in nanoseconds since 1970 UTC, or [`NO_TIME`].
    pub fn time(self) -> i64 {
        unsafe { load64(self.p, TIME) as i64 }
    }

    /// The receive time in nanoseconds since 1970 UTC.
    pub fn received(self) -> i64 {
        unsafe { load64(self.p, RECEIVED) as i64 }
    }

    /// The name of the host the message is from.
    #[inline(always)]
    pub fn host(self) -> &'b [u8] {
        self.bytes(HEADER, self.length(HOST))
    }

    /// The APP-NAME or the tag.
    #[inline(always)]
    pub fn app(self) -> &'b [u8] {
        self.bytes(HEADER + self.length(HOST), self.length(APP))
    }

    /// The PROCID.
    pub fn procid(self) -> &'b [u8] {
        self.field(PROCID)
    }

    /// The MSGID.
    pub fn msgid(self) -> &'b [u8] {
        self.field(MSGID)
    }

    /// Where a route or an earlier module sent the record; empty if nowhere.
    pub fn stream(self) -> &'b [u8] {
        self.field(STREAM)
    }

    /// The name of the input that took the record.
    pub fn input(self) -> &'b [u8] {
        self.field(INPUT)
    }

    /// Who sent it.
    pub fn peer(self) -> &'b [u8] {
        self.field(PEER)
    }

    /// The name of the first runnel that had it.
    pub fn agent(self) -> &'b [u8] {
        self.field(AGENT)
    }

    fn field(self, at: usize) -> &'b [u8] {
        let from = HEADER + (HOST..at).step_by(2).map(|i| self.length(i)).sum::<usize>();
        self.bytes(from, self.length(at))
    }

    /// Where the structured data begins: behind the header and nine texts, the
    /// lengths of eight of which are added in pairs of lanes.
    #[inline(always)]
    fn after(self) -> usize {
        const LANES: u64 = 0x0000_ffff_0000_ffff;
        let (a, b) = unsafe { (load64(self.p, HOST), load64(self.p, STREAM)) };
        let sum = (a & LANES) + (a >> 16 & LANES) + (b & LANES) + (b >> 16 & LANES);
        HEADER + (sum as u32 as usize) + (sum >> 32) as usize + self.length(ORIGIN)
    }

    /// The STRUCTURED-DATA as it came, brackets and escapes included; empty if absent.
    pub fn sd(self) -> &'b [u8] {
        self.bytes(self.after(), unsafe { load32(self.p, SD) })
    }

    /// The text, byte for byte. It need not be UTF-8.
    #[inline(always)]
    pub fn message(self) -> &'b [u8] {
        let (sd, message) = unsafe { (load32(self.p, SD), load32(self.p, MESSAGE)) };
        self.bytes(self.after() + sd, message)
    }

    /// The attributes in their order.
    #[inline]
    pub fn attrs(self) -> Attrs<'b> {
        let end = self.size();
        Attrs { record: self, at: end - unsafe { load32(self.p, ATTRS) }, end }
    }

    /// The attribute of that name.
    #[inline]
    pub fn attr(self, key: impl AsRef<[u8]>) -> Option<Value<'b>> {
        let key = key.as_ref();
        let mut attrs = self.attrs();
        while let Some((k, kind, value)) = attrs.step() {
            if k.len() == key.len() && k == key {
                return Some(Value::of(kind, value));
            }
        }
        None
    }

    /// The bytes of a string, bytes or JSON attribute.
    #[inline]
    pub fn text(self, key: impl AsRef<[u8]>) -> Option<&'b [u8]> {
        self.attr(key)?.text()
    }

    /// The value of an int attribute.
    #[inline]
    pub fn int(self, key: impl AsRef<[u8]>) -> Option<i64> {
        match self.attr(key)? {
            Value::Int(n) => Some(n),
            _ => None,
        }
    }
}

/// What kind of value an attribute has (ABI §3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(u8)]
pub enum Kind {
    String = 1,
    Bytes = 2,
    Int = 3,
    Float = 4,
    Bool = 5,
    Json = 6,
}

/// An attribute's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'b> {
    /// A text, which need not be UTF-8.
    String(&'b [u8]),
    /// Bytes that are no text.
    Bytes(&'b [u8]),
    /// An integer.
    Int(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// An array, an object or null, as JSON text.
    Json(&'b [u8]),
}

impl<'b> Value<'b> {
    #[inline(always)]
    fn of(kind: u8, value: &'b [u8]) -> Self {
        match kind {
            1 => Value::String(value),
            2 => Value::Bytes(value),
            3 => Value::Int(word(value) as i64),
            4 => Value::Float(f64::from_bits(word(value))),
            5 => Value::Bool(value.first() != Some(&0)),
            _ => Value::Json(value),
        }
    }

    /// The value's kind.
    pub fn kind(self) -> Kind {
        match self {
            Value::String(_) => Kind::String,
            Value::Bytes(_) => Kind::Bytes,
            Value::Int(_) => Kind::Int,
            Value::Float(_) => Kind::Float,
            Value::Bool(_) => Kind::Bool,
            Value::Json(_) => Kind::Json,
        }
    }

    /// The bytes of a string, bytes or JSON.
    #[inline]
    pub fn text(self) -> Option<&'b [u8]> {
        match self {
            Value::String(b) | Value::Bytes(b) | Value::Json(b) => Some(b),
            _ => None,
        }
    }
}

/// The eight bytes of an int or a float.
#[inline(always)]
fn word(value: &[u8]) -> u64 {
    unsafe { load64(value.as_ptr(), 0) }
}

/// The attributes of a record: keys and values.
#[derive(Clone)]
pub struct Attrs<'b> {
    record: View<'b>,
    at: usize,
    end: usize,
}

impl<'b> Attrs<'b> {
    #[inline(always)]
    fn step(&mut self) -> Option<(&'b [u8], u8, &'b [u8])> {
        if self.at >= self.end {
            return None;
        }
        let h = unsafe { load64(self.record.p, self.at) };
        let (key, value) = ((h >> 16) as u16 as usize, (h >> 32) as usize);
        let from = self.at + ATTR_HEADER;
        self.at = from + key + value;
        Some((self.record.bytes(from, key), h as u8, self.record.bytes(from + key, value)))
    }
}

impl<'b> Iterator for Attrs<'b> {
    type Item = (&'b [u8], Value<'b>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (key, kind, value) = self.step()?;
        Some((key, Value::of(kind, value)))
    }
}

/// Records of one's own: those that [`state::held`](crate::state::held) gives.
pub struct Batch {
    encoded: List,
}

impl Batch {
    /// A batch as the host encoded it.
    pub(crate) fn of(encoded: List) -> Self {
        Batch { encoded }
    }

    /// How many records there are.
    #[allow(clippy::len_without_is_empty)] // a batch has one record at least
    pub fn len(&self) -> usize {
        unsafe { load32(self.encoded.as_ptr(), 8) }
    }

    /// The records in their order.
    pub fn iter(&self) -> impl Iterator<Item = View<'_>> + '_ {
        let mut at = BATCH_HEADER;
        (0..self.len()).map(move |_| {
            let record = unsafe { View::at(self.encoded.as_ptr().add(at)) };
            at += record.size();
            record
        })
    }
}
