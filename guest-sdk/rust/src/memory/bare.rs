use core::arch::wasm32;
use core::cell::UnsafeCell;
use core::ptr;

/// Blocks of powers of two, and a list of free ones for each: enough for the few
/// blocks a module has, and none is ever searched for.
struct Heap {
    free: [*mut u8; 32],
    at: usize,
    end: usize,
}

struct Cell(UnsafeCell<Heap>);
unsafe impl Sync for Cell {} // an instance never runs two calls at once (ABI §1.2)

#[cfg_attr(feature = "alloc", global_allocator)]
static HEAP: Cell = Cell(UnsafeCell::new(Heap { free: [ptr::null_mut(); 32], at: 0, end: 0 }));

/// The smallest block, and how all are aligned.
const LEAST: usize = 16;
const GREATEST: usize = 1 << 30;
const PAGE: usize = 1 << 16;

extern "C" {
    static __heap_base: u8;
}

fn class(size: usize) -> usize {
    (usize::BITS - (size.max(LEAST) - 1).leading_zeros()) as usize
}

impl Heap {
    /// A block that was never used, from the end of the memory.
    unsafe fn fresh(&mut self, size: usize) -> *mut u8 {
        if self.end == 0 {
            self.at = (ptr::addr_of!(__heap_base) as usize + LEAST - 1) & !(LEAST - 1);
            self.end = wasm32::memory_size(0) * PAGE;
        }
        if size > self.end - self.at {
            let pages = (size - (self.end - self.at) + PAGE - 1) / PAGE;
            if wasm32::memory_grow(0, pages) == usize::MAX {
                return ptr::null_mut();
            }
            self.end += pages * PAGE;
        }
        let block = self.at;
        self.at += size;
        block as *mut u8
    }

    unsafe fn take(&mut self, size: usize) -> *mut u8 {
        if size > GREATEST {
            return ptr::null_mut();
        }
        let class = class(size);
        let block = self.free[class];
        if block.is_null() {
            return self.fresh(1 << class);
        }
        self.free[class] = *(block as *mut *mut u8);
        block
    }

    unsafe fn give(&mut self, block: *mut u8, size: usize) {
        let list = &mut self.free[class(size)];
        *(block as *mut *mut u8) = *list;
        *list = block;
    }
}

/// Memory of that size, aligned to 16.
pub(crate) unsafe fn take(size: usize) -> *mut u8 {
    let block = (*HEAP.0.get()).take(size);
    if block.is_null() {
        crate::error("out of memory");
        wasm32::unreachable()
    }
    block
}

/// Takes it back; the size is that which was asked for.
pub(crate) unsafe fn give(block: *mut u8, size: usize) {
    (*HEAP.0.get()).give(block, size)
}

#[cfg(feature = "alloc")]
unsafe impl core::alloc::GlobalAlloc for Cell {
    unsafe fn alloc(&self, layout: core::alloc::Layout) -> *mut u8 {
        if layout.align() > LEAST {
            return ptr::null_mut(); // nothing of the kind is in a module
        }
        (*self.0.get()).take(layout.size())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: core::alloc::Layout) {
        (*self.0.get()).give(block, layout.size())
    }
}

/// Says where and why. What writes numbers and texts takes 4 KiB.
#[cfg(feature = "panic-message")]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    use core::fmt::Write;

    struct Line(crate::List);
    impl Write for Line {
        fn write_str(&mut self, s: &str) -> core::fmt::Result {
            for c in s.bytes() {
                self.0.push(if c == b'\n' { b' ' } else { c }); // newer ones break the line behind the place
            }
            Ok(())
        }
    }
    let mut line = Line(crate::List::new());
    let _ = write!(line, "{}", info);
    crate::error(&line.0);
    wasm32::unreachable()
}

/// Says where.
#[cfg(not(feature = "panic-message"))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    let mut line = crate::List::new();
    line.extend(b"panic");
    if let Some(place) = info.location() {
        line.extend(b" at ");
        line.extend(place.file().as_bytes());
        line.extend(b":");
        line.extend(crate::decimal(place.line() as i64).as_ref());
    }
    crate::error(&line);
    wasm32::unreachable()
}

/// What `wasm32-wasi` would take from the C library.
#[cfg(target_os = "wasi")]
mod libc {
    #[no_mangle]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
        let mut i = 0;
        while i + 8 <= n {
            let (x, y) =
                ((a.add(i) as *const u64).read_unaligned(), (b.add(i) as *const u64).read_unaligned());
            if x != y {
                return if x.swap_bytes() < y.swap_bytes() { -1 } else { 1 };
            }
            i += 8;
        }
        while i < n {
            if *a.add(i) != *b.add(i) {
                return *a.add(i) as i32 - *b.add(i) as i32;
            }
            i += 1;
        }
        0
    }
}
