//! Texts that are written without being copied.

use crate::output::operation;
use crate::List;
use core::{fmt, mem};

/// A text that is being written, straight into the output. It also takes what
/// `core::fmt` writes.
pub struct Text<'a> {
    out: &'a mut List,
    /// Where the length of the value stands, and where the value begins.
    length: usize,
    from: usize,
}

impl<'a> Text<'a> {
    pub(crate) fn begin(out: &'a mut List, code: u8, key: &[u8]) -> Self {
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
