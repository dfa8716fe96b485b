//! The host's services (ABI §5). A module imports only those that it calls: the
//! linker leaves out the others.

use crate::List;

#[cfg(target_arch = "wasm32")]
pub(crate) mod import {
    #[link(wasm_import_module = "runnel")]
    extern "C" {
        pub fn log(level: u32, text: *const u8, size: usize);
        pub fn now() -> i64;
        pub fn state_get(key: *const u8, size: usize, buf: *mut u8, room: usize) -> i32;
        pub fn state_set(key: *const u8, size: usize, value: *const u8, length: usize) -> i32;
        pub fn state_delete(key: *const u8, size: usize) -> i32;
        pub fn state_next(key: *const u8, size: usize, buf: *mut u8, room: usize) -> i32;
        pub fn held(key: *const u8, size: usize, buf: *mut u8, room: usize) -> i32;
        pub fn metric_add(name: *const u8, size: usize, n: f64);
        pub fn lookup(
            table: *const u8,
            length: usize,
            key: *const u8,
            size: usize,
            buf: *mut u8,
            room: usize,
        ) -> i32;
        pub fn scan(text: *const u8, size: usize, word: *const u8, length: usize) -> i32;
    }
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::simulate::import;

/// How much a line in the agent's log matters (ABI §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Level {
    Debug = 0,
    Info = 1,
    Warn = 2,
    Error = 3,
}

/// Writes a line to the agent's log; the host lets ten a second through.
pub fn log(level: Level, line: impl AsRef<[u8]>) {
    let line = line.as_ref();
    unsafe { import::log(level as u32, line.as_ptr(), line.len()) }
}

/// Logs a line at level info.
pub fn info(line: impl AsRef<[u8]>) {
    log(Level::Info, line)
}

/// Logs a line at level warn.
pub fn warn(line: impl AsRef<[u8]>) {
    log(Level::Warn, line)
}

/// Logs a line at level error.
pub fn error(line: impl AsRef<[u8]>) {
    log(Level::Error, line)
}

/// The batch's clock: nanoseconds since 1970 UTC, the same for all its records.
pub fn now() -> i64 {
    unsafe { import::now() }
}

/// Adds to the counter `runnel_guest_<name>`, where the config grants metrics (ABI §5.4).
pub fn metric(name: &str, n: f64) {
    unsafe { import::metric_add(name.as_ptr(), name.len(), n) }
}

/// The row of a table of the config with that key, as a JSON object (ABI §5.5);
/// [`json::field`](crate::json::field) reads one field of it.
pub fn lookup(table: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Option<List> {
    let (table, key) = (table.as_ref(), key.as_ref());
    ask(|buf, room| unsafe {
        import::lookup(table.as_ptr(), table.len(), key.as_ptr(), key.len(), buf, room)
    })
}

/// Where in the text the word first is: the host's search, which is faster than
/// one's own on texts of more than a few hundred bytes (ABI §5.6).
pub fn scan(text: impl AsRef<[u8]>, word: impl AsRef<[u8]>) -> Option<usize> {
    let (text, word) = (text.as_ref(), word.as_ref());
    let at = unsafe { import::scan(text.as_ptr(), text.len(), word.as_ptr(), word.len()) };
    usize::try_from(at).ok()
}

/// Calls a service that fills a buffer, a second time if it was too small.
pub(crate) fn ask(call: impl Fn(*mut u8, usize) -> i32) -> Option<List> {
    let mut buf = List::new();
    buf.reserve(256);
    loop {
        let n = usize::try_from(call(buf.end(), buf.room())).ok()?;
        if n <= buf.room() {
            unsafe { buf.set_len(n) };
            return Some(buf);
        }
        buf.reserve(n);
    }
}
