//! What is said between batches (ABI §2.3).

use crate::made::New;
use crate::output::{release, verdict, with_key, Output, DISCARD, EMIT, NOBODY};
use crate::{List, Merge};

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
