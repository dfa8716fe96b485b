//! What becomes of held records that go on as one (ABI §4.2, MERGE).

use crate::output::{close, operation, with_key, MERGE};
use crate::record::Kind;
use crate::setters::*;
use crate::List;

/// What a merged record becomes: the setters change it, and each returns the
/// Merge again.
pub struct Merge<'a> {
    out: &'a mut List,
    at: usize,
}

impl<'a> Merge<'a> {
    pub(crate) fn begin(out: &'a mut List, index: u32, key: &[u8]) -> Self {
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
