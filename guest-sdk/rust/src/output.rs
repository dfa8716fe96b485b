//! The output of a call (ABI §4): where verdicts are written, and their encoding.

use crate::record::{load32, View, ATTR_HEADER};
use crate::verdict::Record;
use crate::List;
use core::ptr;

const FORM_LIST: u8 = 1;
/// The header of an output: form u8, zero u8[3], count u32.
const OUT_HEADER: usize = 8;
/// The header of a verdict: size u32, index u32, kind u8, zero u8[3] (ABI §4.2).
pub(crate) const VERDICT_HEADER: usize = 12;

pub(crate) const DROP: u8 = 1;
pub(crate) const PATCH: u8 = 2;
pub(crate) const REPLACE: u8 = 3;
pub(crate) const EMIT: u8 = 5;
pub(crate) const HOLD: u8 = 6;
pub(crate) const FAIL: u8 = 7;
pub(crate) const RELEASE: u8 = 8;
pub(crate) const MERGE: u8 = 9;
pub(crate) const DISCARD: u8 = 10;

/// The index of what is said of no record (ABI §2.3).
pub(crate) const NOBODY: u32 = u32::MAX;

/// Output holds the verdicts of the call at hand. Its buffers grow to what the
/// largest batch needed and are kept, so that a warm guest allocates nothing.
pub struct Output {
    pub(crate) buf: List,
    /// What follows the verdict on the record at hand: what it emits, and what is
    /// let go behind it.
    pub(crate) after: List,
    /// Where operations go that no longer matter.
    pub(crate) unused: List,
    pub(crate) count: u32,
}

impl Output {
    pub(crate) const fn new() -> Self {
        Output { buf: List::new(), after: List::new(), unused: List::new(), count: 0 }
    }

    pub(crate) fn start(&mut self) {
        self.buf.truncate(0);
        self.buf.extend(&[FORM_LIST, 0, 0, 0, 0, 0, 0, 0]);
        self.after.truncate(0);
        self.count = 0;
    }

    /// Ends the output; it is empty where nothing was said.
    pub(crate) fn finish(&mut self) -> &[u8] {
        if self.count == 0 {
            return &[];
        }
        self.buf[4..OUT_HEADER].copy_from_slice(&self.count.to_le_bytes());
        &self.buf
    }

    /// Calls f with every record of the batch, which is a well-formed one.
    #[inline(always)]
    pub(crate) unsafe fn each(&mut self, batch: *const u8, mut f: impl FnMut(&mut Record)) {
        let count = load32(batch, 8) as u32;
        let mut at = batch.add(crate::record::BATCH_HEADER);
        let mut record = Record::first(at, self);
        for index in 0..count {
            record.turn(View::at(at), index);
            f(&mut record);
            record.settle();
            at = at.add(record.size());
        }
    }
}

/// Copies a short text by two loads and stores that may overlap: a copy by the
/// machine's own instruction is a call in the host, several times as dear.
#[inline(always)]
pub(crate) unsafe fn copy(to: *mut u8, text: &[u8]) {
    let (n, from) = (text.len(), text.as_ptr());
    unsafe fn two<T: Copy>(to: *mut u8, from: *const u8, last: usize) {
        let (a, b) = (ptr::read_unaligned(from as *const T), ptr::read_unaligned(from.add(last) as *const T));
        ptr::write_unaligned(to as *mut T, a);
        ptr::write_unaligned(to.add(last) as *mut T, b);
    }
    match n {
        0 => (),
        1 => *to = *from,
        2..=3 => two::<u16>(to, from, n - 2),
        4..=7 => two::<u32>(to, from, n - 4),
        8..=16 => two::<u64>(to, from, n - 8),
        17..=32 => two::<[u64; 2]>(to, from, n - 16),
        _ => ptr::copy_nonoverlapping(from, to, n),
    }
}

/// Appends an attribute or an operation: both have one form.
#[inline(always)]
pub(crate) fn operation(buf: &mut List, code: u8, key: &[u8], value: &[u8]) {
    let key = &key[..key.len().min(0xffff)];
    let at = buf.len();
    let size = ATTR_HEADER + key.len() + value.len();
    buf.reserve(size);
    let head = code as u64 | (key.len() as u64) << 16 | (value.len() as u64) << 32;
    unsafe {
        let p = buf.end();
        ptr::write_unaligned(p as *mut u64, head);
        copy(p.add(ATTR_HEADER), key);
        copy(p.add(ATTR_HEADER + key.len()), value);
        buf.set_len(at + size);
    }
}

/// Appends a verdict's header, with a size that is put right when it ends.
#[inline(always)]
pub(crate) fn verdict(buf: &mut List, index: u32, kind: u8) -> usize {
    let at = buf.len();
    buf.reserve(VERDICT_HEADER);
    unsafe {
        let p = buf.end();
        ptr::write_unaligned(p as *mut u64, (index as u64) << 32);
        ptr::write_unaligned(p.add(8) as *mut u32, kind as u32);
        buf.set_len(at + VERDICT_HEADER);
    }
    at
}

/// Says how long the verdict at `from` is: to the end of the buffer.
#[inline(always)]
pub(crate) fn close(buf: &mut [u8], from: usize) {
    let size = (buf.len() - from) as u32;
    buf[from..from + 4].copy_from_slice(&size.to_le_bytes());
}

pub(crate) fn release(out: &mut List, index: u32, key: &[u8]) {
    let at = verdict(out, index, RELEASE);
    out.extend(key);
    close(out, at);
}

pub(crate) fn with_key(out: &mut List, index: u32, kind: u8, key: &[u8], reason: &[u8]) -> usize {
    let at = verdict(out, index, kind);
    out.extend(&(key.len() as u32 & 0xffff).to_le_bytes());
    out.extend(key);
    out.extend(reason);
    close(out, at);
    at
}
