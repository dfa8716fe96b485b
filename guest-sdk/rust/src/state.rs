//! What a module keeps in its pipeline, where the config grants state (ABI §5.3).
//! It is committed with the output of the batch, or not at all. A module that uses
//! any of this is ordered (ABI §1.3).

use crate::host::{ask, import};
use crate::record::Batch;
use crate::List;

/// The value of a key.
pub fn get(key: impl AsRef<[u8]>) -> Option<List> {
    let key = key.as_ref();
    ask(|buf, room| unsafe { import::state_get(key.as_ptr(), key.len(), buf, room) })
}

/// Sets a key, of 1 to 255 bytes, to a value of up to 65 536. It says false, and
/// changes nothing, where a bound is exceeded or the module is in its init.
pub fn set(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> bool {
    let (key, value) = (key.as_ref(), value.as_ref());
    unsafe { import::state_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) == 0 }
}

/// Removes a key, and says whether there was one.
pub fn delete(key: impl AsRef<[u8]>) -> bool {
    let key = key.as_ref();
    unsafe { import::state_delete(key.as_ptr(), key.len()) == 0 }
}

/// The first key behind the given one in the order of bytes.
pub fn next(key: impl AsRef<[u8]>) -> Option<List> {
    let key = key.as_ref();
    ask(|buf, room| unsafe { import::state_next(key.as_ptr(), key.len(), buf, room) })
}

/// All keys in the order of bytes.
pub fn keys() -> impl Iterator<Item = List> {
    core::iter::successors(next([]), |key| next(key))
}

/// The records held under a key. Those that this call holds are not among them yet.
pub fn held(key: impl AsRef<[u8]>) -> Option<Batch> {
    let key = key.as_ref();
    ask(|buf, room| unsafe { import::held(key.as_ptr(), key.len(), buf, room) }).map(Batch::of)
}
