//! A host that is none, so that a module can be tested with `cargo test`, natively:
//! it serves what ABI §5 says, and gives back the verdicts. It does not carry them
//! out; `runnel module test` does, with the real host.

use crate::guest::{call, configure, run};
use crate::output::{Output, VERDICT_HEADER};
use crate::record::{Batch, BATCH_HEADER};
use crate::{Config, Level, List, New, Record, Tick};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// What the services give and take, for each thread.
#[derive(Default)]
struct Host {
    now: i64,
    lines: Vec<(Level, String)>,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    held: HashMap<Vec<u8>, Vec<u8>>,
    tables: HashMap<(Vec<u8>, Vec<u8>), Vec<u8>>,
    metrics: BTreeMap<String, f64>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::new(Host::default());
}

fn host<R>(f: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with(|h| f(&mut h.borrow_mut()))
}

/// A module under test: see [`Simulation::new`].
pub struct Simulation<T> {
    module: T,
    out: Output,
}

/// What a module said: the index of the record, the kind of the verdict (ABI §4.2),
/// and what follows its header.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `u32::MAX` where it is on no record.
    pub index: u32,
    /// 1 DROP, 2 PATCH and so on.
    pub kind: u8,
    /// A reason, operations, a record: as the kind says.
    pub payload: Vec<u8>,
}

impl<T> Simulation<T> {
    /// Starts a module with a config, as JSON; the problems it finds, if any.
    pub fn new(init: impl Fn(&Config) -> T, config: &str) -> Result<Self, Vec<String>> {
        host(|h| *h = Host::default());
        let text = Box::leak(config.to_owned().into_boxed_str()); // as a guest does
        match configure(init, text.as_bytes()) {
            Some(module) => Ok(Simulation { module, out: Output::new() }),
            None => Err(host(|h| h.lines.drain(..).map(|(_, line)| line).collect())),
        }
    }

    /// Sets the clock, in nanoseconds since 1970 UTC.
    pub fn now(&mut self, now: i64) {
        host(|h| h.now = now)
    }

    /// Adds a row to a table: a JSON object.
    pub fn row(&mut self, table: &str, key: &str, row: &str) {
        host(|h| h.tables.insert((table.into(), key.into()), row.into()));
    }

    /// Says which records are held under a key.
    pub fn hold(&mut self, key: &str, records: Records) {
        host(|h| h.held.insert(key.into(), records.encoded()));
    }

    /// Gives the module a batch and returns its output (ABI §4), empty if it keeps all.
    pub fn process(&mut self, f: impl Fn(&mut T, &mut Record), batch: &[u8]) -> Vec<u8> {
        assert!(batch.starts_with(b"rb\x01\0") && batch.len() > BATCH_HEADER);
        unsafe { run(f, &mut self.module, batch.as_ptr(), &mut self.out) }.to_vec()
    }

    /// Calls a tick or a flush and returns its output.
    pub fn tick(&mut self, f: impl Fn(&mut T, &mut Tick)) -> Vec<u8> {
        call(f, &mut self.module, crate::now(), &mut self.out).to_vec()
    }

    /// What `init` returned, as it is now.
    pub fn module(&self) -> &T {
        &self.module
    }

    /// What was logged since the last call.
    pub fn lines(&mut self) -> Vec<(Level, String)> {
        host(|h| std::mem::take(&mut h.lines))
    }

    /// What a counter is at.
    pub fn metric(&self, name: &str) -> f64 {
        host(|h| h.metrics.get(name).copied().unwrap_or(0.0))
    }
}

/// Takes an output apart.
pub fn verdicts(output: &[u8]) -> Vec<Verdict> {
    let word = |at: usize| u32::from_le_bytes(output[at..at + 4].try_into().unwrap());
    let (mut list, mut at) = (Vec::new(), 8);
    while at < output.len() {
        let size = word(at) as usize;
        let payload = output[at + VERDICT_HEADER..at + size].to_vec();
        list.push(Verdict { index: word(at + 4), kind: output[at + 8], payload });
        at += size;
    }
    assert!(output.is_empty() || word(4) as usize == list.len());
    list
}

/// Records for a test: each is made as one that a module makes.
#[derive(Default)]
pub struct Records {
    encoded: Vec<u8>,
    count: u32,
}

impl Records {
    /// No records yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, which f fills in.
    pub fn with(mut self, f: impl FnOnce(New) -> New) -> Self {
        let mut verdict = List::new();
        verdict.extend(&[0; VERDICT_HEADER]);
        f(New::begin(&mut verdict, 0, None));
        self.encoded.extend_from_slice(&verdict[VERDICT_HEADER..]);
        self.count += 1;
        self
    }

    /// Adds one with a message alone.
    pub fn message(self, text: &str) -> Self {
        self.with(|r| r.message(text))
    }

    /// The batch, as the host would encode it (ABI §3.1).
    pub fn encoded(&self) -> Vec<u8> {
        let mut batch = b"rb\x01\0".to_vec();
        batch.extend_from_slice(&((BATCH_HEADER + self.encoded.len()) as u32).to_le_bytes());
        batch.extend_from_slice(&self.count.to_le_bytes());
        batch.extend_from_slice(&[0; 4]);
        batch.extend_from_slice(&self.encoded);
        batch
    }
}

/// A record that a module made, from the payload of an EMIT or REPLACE.
pub fn made(payload: &[u8]) -> Batch {
    let mut batch = List::new();
    batch.extend(&Records { encoded: payload.to_vec(), count: 1 }.encoded());
    Batch::of(batch)
}

/// The services, as the imports are declared.
pub(crate) mod import {
    use super::*;
    use std::ops::Bound;
    use std::slice::from_raw_parts;

    unsafe fn bytes(at: *const u8, size: usize) -> Vec<u8> {
        from_raw_parts(at, size).to_vec()
    }

    unsafe fn give(value: Option<&Vec<u8>>, buf: *mut u8, room: usize) -> i32 {
        match value {
            None => -1,
            Some(value) => {
                if value.len() <= room {
                    value.as_ptr().copy_to(buf, value.len());
                }
                value.len() as i32
            }
        }
    }

    pub unsafe fn log(level: u32, text: *const u8, size: usize) {
        let level = [Level::Debug, Level::Info, Level::Warn, Level::Error][level as usize];
        let line = String::from_utf8_lossy(&bytes(text, size)).into_owned();
        host(|h| h.lines.push((level, line)))
    }

    pub unsafe fn now() -> i64 {
        host(|h| h.now)
    }

    pub unsafe fn state_get(key: *const u8, size: usize, buf: *mut u8, room: usize) -> i32 {
        host(|h| give(h.state.get(&bytes(key, size)), buf, room))
    }

    pub unsafe fn state_set(key: *const u8, size: usize, value: *const u8, length: usize) -> i32 {
        if size == 0 || size > 255 || length > 65536 {
            return -1;
        }
        host(|h| h.state.insert(bytes(key, size), bytes(value, length)));
        0
    }

    pub unsafe fn state_delete(key: *const u8, size: usize) -> i32 {
        host(|h| h.state.remove(&bytes(key, size))).map_or(-1, |_| 0)
    }

    pub unsafe fn state_next(key: *const u8, size: usize, buf: *mut u8, room: usize) -> i32 {
        let behind = (Bound::Excluded(bytes(key, size)), Bound::Unbounded);
        host(|h| give(h.state.range(behind).next().map(|(key, _)| key), buf, room))
    }

    pub unsafe fn held(key: *const u8, size: usize, buf: *mut u8, room: usize) -> i32 {
        host(|h| give(h.held.get(&bytes(key, size)), buf, room))
    }

    pub unsafe fn metric_add(name: *const u8, size: usize, n: f64) {
        let name = String::from_utf8_lossy(&bytes(name, size)).into_owned();
        host(|h| *h.metrics.entry(name).or_insert(0.0) += n)
    }

    pub unsafe fn lookup(
        table: *const u8,
        length: usize,
        key: *const u8,
        size: usize,
        buf: *mut u8,
        room: usize,
    ) -> i32 {
        host(|h| give(h.tables.get(&(bytes(table, length), bytes(key, size))), buf, room))
    }

    pub unsafe fn scan(text: *const u8, size: usize, word: *const u8, length: usize) -> i32 {
        let (text, word) = (bytes(text, size), bytes(word, length));
        let found = if word.is_empty() { Some(0) } else { text.windows(length).position(|w| w == word) };
        found.map_or(-1, |at| at as i32)
    }
}
