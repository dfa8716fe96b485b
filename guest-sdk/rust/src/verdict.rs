//! What becomes of a record of the batch.

use crate::made::New;
use crate::output::{
    close, operation, release, verdict, with_key, Output, DISCARD, DROP, EMIT, FAIL, HOLD, PATCH, REPLACE,
};
use crate::record::{Kind, View};
use crate::setters::*;
use crate::{List, Merge, Text};
use core::ops::Deref;

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
    /// What stands for each record of a batch in its turn, the first of which is at `at`.
    #[inline(always)]
    pub(crate) unsafe fn first(at: *const u8, out: &'b mut Output) -> Self {
        Record { view: View::at(at), index: 0, open: 0, kind: 0, out }
    }

    #[inline(always)]
    pub(crate) fn turn(&mut self, view: View<'b>, index: u32) {
        self.view = view;
        self.index = index;
    }

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
    pub(crate) fn settle(&mut self) {
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
