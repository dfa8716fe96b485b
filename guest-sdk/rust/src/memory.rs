//! Memory, and panics where there is no standard library.

#[cfg(all(target_arch = "wasm32", not(feature = "std")))]
mod bare;

#[cfg(all(target_arch = "wasm32", not(feature = "std")))]
pub(crate) use bare::{give, take};

#[cfg(not(all(target_arch = "wasm32", not(feature = "std"))))]
pub(crate) use system::{give, take};

#[cfg(not(all(target_arch = "wasm32", not(feature = "std"))))]
mod system {
    use std::alloc::{alloc, dealloc, handle_alloc_error, Layout};

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 16).expect("a size that there is")
    }

    /// Memory of that size, aligned to 16.
    pub(crate) unsafe fn take(size: usize) -> *mut u8 {
        let block = alloc(layout(size));
        if block.is_null() {
            handle_alloc_error(layout(size))
        }
        block
    }

    /// Takes it back; the size is that which was asked for.
    pub(crate) unsafe fn give(block: *mut u8, size: usize) {
        dealloc(block, layout(size))
    }
}
