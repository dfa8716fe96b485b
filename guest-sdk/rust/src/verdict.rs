//! What becomes of the records: the output of a call (ABI §4).

use crate::made::New;
use crate::record::{load32, Kind, View, ATTR_HEADER};
use crate::List;
use core::ops::Deref;
use core::{fmt, mem, ptr};

const FORM_LIST: u8 = 1;
/// The header of an output: form u8, zero u8[3], count u32.
const OUT_HEADER: usize = 8;
/// The header of a verdict: size u32, index u32, kind u8, zero u8[3] (ABI §4.2).
pub(crate) const VERDICT_HEADER: usize = 12;

const DROP: u8 = 1;
const PATCH: u8 = 2;
pub(crate) const REPLACE: u8 = 3;
pub(crate) const EMIT: u8 = 5;
const HOLD: u8 = 6;
const FAIL: u8 = 7;
const RELEASE: u8 = 8;
const MERGE: u8 = 9;
const DISCARD: u8 = 10;

// Operations of a PATCH beside those that set an attribute, whose codes are its kind (ABI §4.3).
const OP_REMOVE: u8 = 7;
const OP_SEVERITY: u8 = 16;
const OP_FACILITY: u8 = 17;
const OP_TIME: u8 = 18;
const OP_HOST: u8 = 19;
const OP_APP: u8 = 20;
const OP_PROCID: u8 = 21;
const OP_MSGID: u8 = 22;
const OP_SD: u8 = 23;
const OP_MESSAGE: u8 = 24;
const OP_STREAM: u8 = 25;
const OP_JOIN: u8 = 26;

/// The index of what is said of no record (ABI §2.3).
const NOBODY: u32 = u32::MAX;

/// Output holds the verdicts of the call at hand. Its buffers grow to what the
/// largest batch needed and are kept, so that a warm guest allocates nothing.
pub struct Output {
    pub(crate) buf: List,
    /// What follows the verdict on the record at hand: what it emits, and what is
    /// let go behind it.
    after: List,
    /// Where operations go that no longer matter.
    unused: List,
    count: u32,
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
        let mut record = Record { view: View::at(at), index: 0, open: 0, kind: 0, out: self };
        for index in 0..count {
            record.view = View::at(at);
            record.index = index;
            f(&mut record);
            record.settle();
            at = at.add(record.view.size());
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

fn release(out: &mut List, index: u32, key: &[u8]) {
    let at = verdict(out, index, RELEASE);
    out.extend(key);
    close(out, at);
}

fn with_key(out: &mut List, index: u32, kind: u8, key: &[u8], reason: &[u8]) -> usize {
    let at = verdict(out, index, kind);
    out.extend(&(key.len() as u32 & 0xffff).to_le_bytes());
    out.extend(key);
    out.extend(reason);
    close(out, at);
    at
}

/// The setters, which a [`Record`] and a [`Merge`] have in common.
macro_rules! setters {
    ($result:ty, $me:ident => $give:expr) => {
        /// Sets an attribute to a text.
        #[inline]
        pub fn set(&mut $me, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> $result {
            $me.op(Kind::String as u8, key.as_ref(), value.as_ref());
            $give
        }

        /// Sets an attribute to an integer.
        #[inline]
        pub fn set_int(&mut $me, key: impl AsRef<[u8]>, value: i64) -> $result {
            $me.op(Kind::Int as u8, key.as_ref(), &value.to_le_bytes());
            $give
        }

        /// Sets an attribute to a number.
        #[inline]
        pub fn set_float(&mut $me, key: impl AsRef<[u8]>, value: f64) -> $result {
            $me.op_cold(Kind::Float as u8, key.as_ref(), &value.to_bits().to_le_bytes());
            $give
        }

        /// Sets an attribute to true or false.
        #[inline]
        pub fn set_bool(&mut $me, key: impl AsRef<[u8]>, value: bool) -> $result {
            $me.op_cold(Kind::Bool as u8, key.as_ref(), &[value as u8]);
            $give
        }

        /// Sets an attribute to bytes that are no text.
        #[inline]
        pub fn set_bytes(&mut $me, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> $result {
            $me.op_cold(Kind::Bytes as u8, key.as_ref(), value.as_ref());
            $give
        }

        /// Sets an attribute to a JSON array, object or null, given as text.
        #[inline]
        pub fn set_json(&mut $me, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> $result {
            $me.op_cold(Kind::Json as u8, key.as_ref(), value.as_ref());
            $give
        }

        /// Removes an attribute; it is no mistake if there is none.
        #[inline]
        pub fn remove(&mut $me, key: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_REMOVE, key.as_ref(), &[]);
            $give
        }

        /// Changes the severity: 0 to 7, or [`ABSENT`](crate::ABSENT).
        pub fn set_severity(&mut $me, severity: u8) -> $result {
            $me.op_cold(OP_SEVERITY, &[], &[severity]);
            $give
        }

        /// Changes the facility: 0 to 23, or [`ABSENT`](crate::ABSENT).
        pub fn set_facility(&mut $me, facility: u8) -> $result {
            $me.op_cold(OP_FACILITY, &[], &[facility]);
            $give
        }

        /// Changes the event time: nanoseconds since 1970 UTC, or [`NO_TIME`](crate::NO_TIME).
        pub fn set_time(&mut $me, time: i64) -> $result {
            $me.op_cold(OP_TIME, &[], &time.to_le_bytes());
            $give
        }

        /// Changes the host's name.
        pub fn set_host(&mut $me, host: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_HOST, &[], host.as_ref());
            $give
        }

        /// Changes the APP-NAME.
        pub fn set_app(&mut $me, app: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_APP, &[], app.as_ref());
            $give
        }

        /// Changes the PROCID.
        pub fn set_procid(&mut $me, procid: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_PROCID, &[], procid.as_ref());
            $give
        }

        /// Changes the MSGID.
        pub fn set_msgid(&mut $me, msgid: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_MSGID, &[], msgid.as_ref());
            $give
        }

        /// Changes the STRUCTURED-DATA, given as it stands in a message, brackets included.
        pub fn set_sd(&mut $me, sd: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_SD, &[], sd.as_ref());
            $give
        }

        /// Changes the text.
        pub fn set_message(&mut $me, message: impl AsRef<[u8]>) -> $result {
            $me.op_cold(OP_MESSAGE, &[], message.as_ref());
            $give
        }

        /// Sends it to a stream of the config.
        #[inline]
        pub fn route(&mut $me, stream: impl AsRef<[u8]>) -> $result {
            $me.op(OP_STREAM, &[], stream.as_ref());
            $give
        }
    };
}

/// One record of the batch at hand, to read (see [`View`]) and to judge. What is
/// read is the record as it came: a change is not seen by a later read.
///
/// Of `drop`, `fail`, `hold` and `replace` the last one said counts, and none of
/// the changes made before or after it.
pub struct Record<'b> {
    view: View<'b>,
    index: u32,
    kind: u8,
    /// Where this record's verdict begins in the output; 0: none yet.
    open: usize,
    out: &'b mut Output,
}

impl<'b> Deref for Record<'b> {
    type Target = View<'b>;

    #[inline(always)]
    fn deref(&self) -> &View<'b> {
        &self.view
    }
}

impl<'b> Record<'b> {
    /// The record's place in the batch, from 0.
    pub fn index(&self) -> usize {
        self.index as usize
    }

    /// Begins the verdict on the record: a PATCH goes on where it was, and any
    /// other kind takes the place of what was said before.
    fn begin(&mut self, kind: u8) -> &mut List {
        if self.open != 0 {
            self.out.buf.truncate(self.open);
        }
        self.kind = kind;
        self.open = verdict(&mut self.out.buf, self.index, kind);
        &mut self.out.buf
    }

    /// Where operations go: to the record's PATCH, or nowhere if it has another verdict.
    #[inline(always)]
    fn patch(&mut self) -> &mut List {
        if self.open == 0 {
            self.open = verdict(&mut self.out.buf, self.index, PATCH);
            self.kind = PATCH;
        } else if self.kind != PATCH {
            self.out.unused.truncate(0);
            return &mut self.out.unused;
        }
        &mut self.out.buf
    }

    #[inline(always)]
    fn op(&mut self, code: u8, key: &[u8], value: &[u8]) {
        operation(self.patch(), code, key, value)
    }

    /// The same for what is rare, as one function: a module is the smaller for it.
    #[inline(never)]
    fn op_cold(&mut self, code: u8, key: &[u8], value: &[u8]) {
        self.op(code, key, value)
    }

    /// Ends the verdict on the record and adds what follows it.
    #[inline(always)]
    fn settle(&mut self) {
        if self.open != 0 {
            close(&mut self.out.buf, self.open);
            self.out.count += 1;
            self.open = 0;
        }
        if !self.out.after.is_empty() {
            self.out.buf.extend(&self.out.after);
            self.out.after.truncate(0);
        }
    }

    setters!((), self => ());

    /// Changes the text to what is then written.
    pub fn write_message(&mut self) -> Text<'_> {
        Text::begin(self.patch(), OP_MESSAGE, &[])
    }

    /// Changes the STRUCTURED-DATA to what is then written.
    pub fn write_sd(&mut self) -> Text<'_> {
        Text::begin(self.patch(), OP_SD, &[])
    }

    /// Sets an attribute to what is then written; the kind is a string, bytes or JSON.
    pub fn write(&mut self, key: impl AsRef<[u8]>, kind: Kind) -> Text<'_> {
        Text::begin(self.patch(), kind as u8, key.as_ref())
    }

    /// Drops the record. The reason, of up to 255 bytes, is counted by the host:
    /// let there be few.
    #[inline]
    pub fn drop(&mut self, reason: impl AsRef<[u8]>) {
        self.begin(DROP).extend(reason.as_ref());
    }

    /// Hands the record to the module's `on_error`, with a message.
    pub fn fail(&mut self, message: impl AsRef<[u8]>) {
        self.begin(FAIL).extend(message.as_ref());
    }

    /// Moves the record, as it came, into the module's state, behind what is held
    /// under the key already (ABI §4.8). A key has 1 to 255 bytes.
    pub fn hold(&mut self, key: impl AsRef<[u8]>) {
        self.begin(HOLD).extend(key.as_ref());
    }

    /// Puts another record in this one's place, empty at first.
    pub fn replace(&mut self) -> New<'_> {
        self.begin(REPLACE);
        New::begin(&mut self.out.buf, self.open, Some(self.view))
    }

    /// Adds a record behind this one, empty at first; up to 64 of them.
    pub fn emit(&mut self) -> New<'_> {
        self.out.count += 1;
        let at = verdict(&mut self.out.after, self.index, EMIT);
        New::begin(&mut self.out.after, at, Some(self.view))
    }

    /// Where a verdict goes that is not on the record itself: before that one if
    /// it is still to come, else behind it.
    fn beside(&mut self) -> &mut List {
        self.out.count += 1;
        if self.open == 0 && self.out.after.is_empty() {
            return &mut self.out.buf;
        }
        &mut self.out.after
    }

    /// Lets the records held under the key go on as they came: before this one if
    /// nothing was said of it yet, and behind it otherwise. So do those of `merge`.
    pub fn release(&mut self, key: impl AsRef<[u8]>) {
        let index = self.index;
        release(self.beside(), index, key.as_ref());
    }

    /// Lets the first of those held under the key go on, changed by what is said of
    /// the [`Merge`], and drops the others, counted as `merged`.
    pub fn merge(&mut self, key: impl AsRef<[u8]>) -> Merge<'_> {
        let index = self.index;
        Merge::begin(self.beside(), index, key.as_ref())
    }

    /// Drops those held under the key.
    pub fn discard(&mut self, key: impl AsRef<[u8]>, reason: impl AsRef<[u8]>) {
        let index = self.index;
        with_key(self.beside(), index, DISCARD, key.as_ref(), reason.as_ref());
    }
}

/// What a merged record becomes: the setters change it, and each returns the
/// Merge again.
pub struct Merge<'a> {
    out: &'a mut List,
    at: usize,
}

impl<'a> Merge<'a> {
    fn begin(out: &'a mut List, index: u32, key: &[u8]) -> Self {
        let at = with_key(out, index, MERGE, key, &[]);
        Merge { out, at }
    }

    fn op(&mut self, code: u8, key: &[u8], value: &[u8]) {
        operation(self.out, code, key, value);
        close(self.out, self.at);
    }

    #[inline(never)]
    fn op_cold(&mut self, code: u8, key: &[u8], value: &[u8]) {
        self.op(code, key, value)
    }

    setters!(&mut Self, self => self);

    /// Sets the message to those of all that are held, with a separator of up to
    /// 16 bytes between them.
    pub fn join(&mut self, separator: impl AsRef<[u8]>) -> &mut Self {
        self.op(OP_JOIN, &[], separator.as_ref());
        self
    }
}

/// A call between batches: a tick, or the flush.
pub struct Tick<'a> {
    now: i64,
    out: &'a mut Output,
}

impl<'a> Tick<'a> {
    pub(crate) fn new(now: i64, out: &'a mut Output) -> Self {
        Tick { now, out }
    }

    /// The time of the call in nanoseconds since 1970 UTC.
    pub fn now(&self) -> i64 {
        self.now
    }

    fn add(&mut self) -> &mut List {
        self.out.count += 1;
        &mut self.out.buf
    }

    /// Adds a record, empty at first.
    pub fn emit(&mut self) -> New<'_> {
        let buf = self.add();
        let at = verdict(buf, NOBODY, EMIT);
        New::begin(buf, at, None)
    }

    /// Lets the records held under the key go on as they came.
    pub fn release(&mut self, key: impl AsRef<[u8]>) {
        release(self.add(), NOBODY, key.as_ref());
    }

    /// Lets the first of those held under the key go on, and drops the others,
    /// counted as `merged`.
    pub fn merge(&mut self, key: impl AsRef<[u8]>) -> Merge<'_> {
        Merge::begin(self.add(), NOBODY, key.as_ref())
    }

    /// Drops those held under the key.
    pub fn discard(&mut self, key: impl AsRef<[u8]>, reason: impl AsRef<[u8]>) {
        with_key(self.add(), NOBODY, DISCARD, key.as_ref(), reason.as_ref());
    }
}

/// A text that is being written, straight into the output. It also takes what
/// `core::fmt` writes.
pub struct Text<'a> {
    out: &'a mut List,
    /// Where the length of the value stands, and where the value begins.
    length: usize,
    from: usize,
}

impl<'a> Text<'a> {
    fn begin(out: &'a mut List, code: u8, key: &[u8]) -> Self {
        let length = out.len() + mem::size_of::<u32>();
        operation(out, code, key, &[]);
        let from = out.len();
        Text { out, length, from }
    }

    /// Appends bytes.
    #[inline]
    pub fn push(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        self.out.extend(text.as_ref());
        self
    }
}

impl Drop for Text<'_> {
    fn drop(&mut self) {
        let size = (self.out.len() - self.from) as u32;
        self.out[self.length..self.length + 4].copy_from_slice(&size.to_le_bytes());
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.push(s);
        Ok(())
    }
}
