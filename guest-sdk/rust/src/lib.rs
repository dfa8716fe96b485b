//! The SDK for runnel modules written in Rust: it turns the bytes of ABI v1
//! (guest-sdk/ABI.md) into records that a function can read, change, drop, route
//! and emit.
//!
//! It hides the two encodings, the record batch and the verdict list, and needs
//! nothing but `core`. Reading a record allocates nothing: what a
//! [`Record`] returns is borrowed from the batch, and the compiler sees to it that
//! it is not kept. All `unsafe` of a module is in here.
//!
//! ```
//! use runnel::{Config, Record, DEBUG};
//!
//! runnel::module!(init, process);
//!
//! struct Noise(&'static str);
//!
//! fn init(config: &Config) -> Noise {
//!     config.known(&["path"]);
//!     Noise(config.text("path", "/healthz"))
//! }
//!
//! fn process(noise: &mut Noise, record: &mut Record) {
//!     if record.severity() == DEBUG {
//!         record.drop("debug");
//!     } else if record.text("path") == Some(noise.0.as_bytes()) {
//!         record.drop("noise");
//!     } else {
//!         record.set("team", "shop");
//!     }
//! }
//! # fn main() {}
//! ```
#![cfg_attr(all(target_arch = "wasm32", not(feature = "std")), no_std)]
#![warn(missing_docs)]

mod config;
#[doc(hidden)]
pub mod guest;
mod host;
pub mod json;
mod list;
mod made;
mod memory;
mod merge;
mod number;
mod output;
mod record;
mod setters;
#[cfg(not(target_arch = "wasm32"))]
pub mod simulate;
pub mod state;
mod text;
mod tick;
mod verdict;

pub use config::Config;
pub use host::{error, info, log, lookup, metric, now, scan, warn, Level};
pub use list::List;
pub use made::New;
pub use merge::Merge;
pub use number::{decimal, parse_int, Decimal};
pub use record::{Attrs, Batch, Kind, Value, View};
pub use record::{ABSENT, ALERT, CRIT, DEBUG, EMERG, ERR, INFO, NOTICE, NO_TIME, WARNING};
pub use text::Text;
pub use tick::Tick;
pub use verdict::Record;

/// Makes the functions named the module's.
///
/// `init(&Config) -> T` reads the config, once for each instance, and returns
/// whatever the module wants to have at hand; `process(&mut T, &mut Record)` is
/// called for every record. `tick = f` names an `f(&mut T, &mut Tick)` that is
/// called between batches, once a second at most, and `flush = f` one that is
/// called when the module leaves its pipeline (ABI §2.3). Either makes the module
/// *ordered*: one instance for a pipeline, one batch after another (ABI §1.3).
///
/// `T` is a cache: instances come and go, and only [`state`] stays.
#[macro_export]
macro_rules! module {
    ($init:path, $process:path $(, tick = $tick:path)? $(, flush = $flush:path)? $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[no_mangle]
            pub extern "C" fn runnel_abi_v1() {}

            #[no_mangle]
            pub extern "C" fn runnel_alloc(size: u32) -> u32 {
                $crate::guest::alloc(size)
            }

            #[no_mangle]
            pub unsafe extern "C" fn runnel_init(at: *const u8, size: u32) -> u32 {
                $crate::guest::init($init, at, size)
            }

            #[no_mangle]
            pub unsafe extern "C" fn runnel_process(at: *const u8, _size: u32) -> u64 {
                $crate::guest::process($init, $process, at)
            }

            $(#[no_mangle]
            pub unsafe extern "C" fn runnel_tick(now: i64) -> u64 {
                $crate::guest::between($init, $tick, now)
            })?

            $(#[no_mangle]
            pub unsafe extern "C" fn runnel_flush() -> u64 {
                $crate::guest::between($init, $flush, $crate::now())
            })?
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            let _ = ($init, $process);
            $(let _ = $tick;)?
            $(let _ = $flush;)?
        };
    };
}
