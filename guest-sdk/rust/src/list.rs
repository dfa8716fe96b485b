//! A growable list: `Vec` for where there is no `alloc`, which stable Rust has
//! without `std` only from 1.68 on.

use crate::memory;
use core::ops::{Deref, DerefMut};
use core::{fmt, mem, ptr, slice};

/// A list that grows, of things that can be copied. Of bytes it also is a text
/// to write into, with `core::fmt` too.
pub struct List<T: Copy = u8> {
    at: *mut T,
    len: usize,
    room: usize,
}

impl<T: Copy> List<T> {
    /// An empty list, which has no memory yet.
    pub const fn new() -> Self {
        List { at: ptr::NonNull::dangling().as_ptr(), len: 0, room: 0 }
    }

    /// Makes room for n more.
    #[inline(always)]
    pub fn reserve(&mut self, n: usize) {
        if n > self.room - self.len {
            self.grow(n);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, n: usize) {
        let size = (self.len + n) * mem::size_of::<T>();
        let bytes = size.max(self.len * mem::size_of::<T>() * 2).max(64);
        unsafe {
            let bigger = memory::take(bytes) as *mut T;
            ptr::copy_nonoverlapping(self.at, bigger, self.len);
            self.free();
            self.at = bigger;
        }
        self.room = bytes / mem::size_of::<T>();
    }

    unsafe fn free(&mut self) {
        if self.room > 0 {
            memory::give(self.at as *mut u8, self.room * mem::size_of::<T>());
        }
    }

    /// Where the next one is to be written, after a `reserve`.
    #[inline(always)]
    pub(crate) fn end(&mut self) -> *mut T {
        unsafe { self.at.add(self.len) }
    }

    /// How many fit without more memory.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Takes the first n, which are written and for which there is room, for the list.
    #[inline(always)]
    pub(crate) unsafe fn set_len(&mut self, n: usize) {
        self.len = n;
    }

    /// Appends one.
    #[inline]
    pub fn push(&mut self, one: T) {
        self.reserve(1);
        unsafe { self.end().write(one) };
        self.len += 1;
    }

    /// Appends several.
    #[inline]
    pub fn extend(&mut self, more: &[T]) {
        self.reserve(more.len());
        unsafe { ptr::copy_nonoverlapping(more.as_ptr(), self.end(), more.len()) };
        self.len += more.len();
    }

    /// Keeps the first n, and their memory.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        self.len = self.len.min(n);
    }

    /// Puts others in the place of `old` ones from `from` on.
    pub fn splice(&mut self, from: usize, old: usize, new: &[T]) {
        assert!(from <= self.len && old <= self.len - from);
        self.reserve(new.len());
        let tail = self.len - from - old;
        unsafe {
            let at = self.at.add(from);
            ptr::copy(at.add(old), at.add(new.len()), tail);
            ptr::copy_nonoverlapping(new.as_ptr(), at, new.len());
        }
        self.len = from + new.len() + tail;
    }

    /// Gives the list away for good, as what a config holds.
    pub fn leak(self) -> &'static [T] {
        let (at, len) = (self.at, self.len);
        mem::forget(self);
        unsafe { slice::from_raw_parts(at, len) }
    }
}

impl<T: Copy> Drop for List<T> {
    fn drop(&mut self) {
        unsafe { self.free() }
    }
}

impl<T: Copy> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy> Deref for List<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        unsafe { slice::from_raw_parts(self.at, self.len) }
    }
}

impl<T: Copy> DerefMut for List<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        unsafe { slice::from_raw_parts_mut(self.at, self.len) }
    }
}

impl<T: Copy> AsRef<[T]> for List<T> {
    fn as_ref(&self) -> &[T] {
        self
    }
}

impl fmt::Write for List {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.extend(s.as_bytes());
        Ok(())
    }
}
