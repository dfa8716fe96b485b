//! What the exports that [`module!`](crate::module) makes call. Nothing here is for modules.

use crate::config::Config;
use crate::output::Output;
use crate::{Record, Tick};
use core::cell::Cell;

/// Reads the config and makes the module. None: it found problems, and logged them.
pub(crate) fn configure<T>(init: impl Fn(&Config) -> T, text: &'static [u8]) -> Option<T> {
    let bad = Cell::new(false);
    let config = Config::parse(text, &bad);
    if bad.get() {
        return None;
    }
    let module = init(&config);
    if bad.get() {
        return None;
    }
    Some(module)
}

/// Runs a module over one batch, which must be well-formed.
#[inline(always)]
pub(crate) unsafe fn run<'o, T>(
    process: impl Fn(&mut T, &mut Record),
    module: &mut T,
    batch: *const u8,
    out: &'o mut Output,
) -> &'o [u8] {
    out.start();
    out.each(batch, |record| process(module, record));
    out.finish()
}

/// Runs a tick or the flush.
pub(crate) fn call<'o, T>(
    f: impl Fn(&mut T, &mut Tick),
    module: &mut T,
    now: i64,
    out: &'o mut Output,
) -> &'o [u8] {
    out.start();
    f(module, &mut Tick::new(now, out));
    out.finish()
}

#[cfg(target_arch = "wasm32")]
pub use exports::*;

#[cfg(target_arch = "wasm32")]
mod exports {
    use super::*;
    use crate::{memory, List};
    use core::cell::UnsafeCell;
    use core::{mem, ptr, slice};

    /// The one guest of this instance. Nothing calls it twice at once (ABI §1.2).
    struct Guest {
        buffer: List,
        module: *mut u8,
        out: Output,
    }

    struct Only(UnsafeCell<Guest>);
    unsafe impl Sync for Only {}

    static GUEST: Only =
        Only(UnsafeCell::new(Guest { buffer: List::new(), module: ptr::null_mut(), out: Output::new() }));

    #[inline(always)]
    fn guest() -> &'static mut Guest {
        unsafe { &mut *GUEST.0.get() }
    }

    /// The buffer that the host writes the config and then every batch to.
    pub fn alloc(size: u32) -> u32 {
        let g = guest();
        g.buffer = List::new(); // frees it first: memory is short
        g.buffer.reserve(size as usize);
        g.buffer.end() as u32
    }

    pub unsafe fn init<T>(init: impl Fn(&Config) -> T, at: *const u8, size: u32) -> u32 {
        assert!(mem::align_of::<T>() <= 16);
        let g = guest();
        mem::take(&mut g.buffer).leak(); // the config stays: what it says is borrowed from it
        match configure(init, slice::from_raw_parts(at, size as usize)) {
            Some(module) => {
                g.module = memory::take(mem::size_of::<T>());
                (g.module as *mut T).write(module);
                0
            }
            None => 1,
        }
    }

    /// What the host is given: the address in the upper half, the length in the lower.
    #[inline(always)]
    fn place(output: &[u8]) -> u64 {
        if output.is_empty() {
            return 0;
        }
        (output.as_ptr() as u64) << 32 | output.len() as u64
    }

    /// The init is there for its type only, which is that of the module.
    #[inline(always)]
    pub unsafe fn process<T>(
        _: impl Fn(&Config) -> T,
        process: impl Fn(&mut T, &mut Record),
        batch: *const u8,
    ) -> u64 {
        let g = guest();
        place(run(process, &mut *(g.module as *mut T), batch, &mut g.out))
    }

    pub unsafe fn between<T>(_: impl Fn(&Config) -> T, f: impl Fn(&mut T, &mut Tick), now: i64) -> u64 {
        let g = guest();
        place(call(f, &mut *(g.module as *mut T), now, &mut g.out))
    }
}
