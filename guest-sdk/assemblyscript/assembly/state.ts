// What a module keeps between batches (ABI §5.3): committed with the output of
// the batch, or not at all. Needs `grant: [state]`, and makes the module ordered.

import { Text, raw } from "./text";
import { take, giveBack } from "./memory";
import { Batch } from "./record";

// @ts-ignore: decorator
@external("runnel", "state_get")
declare function stateGet(key: usize, size: usize, to: usize, room: usize): i32;
// @ts-ignore: decorator
@external("runnel", "state_set")
declare function stateSet(key: usize, size: usize, value: usize, valueSize: usize): i32;
// @ts-ignore: decorator
@external("runnel", "state_delete")
declare function stateDelete(key: usize, size: usize): i32;
// @ts-ignore: decorator
@external("runnel", "state_next")
declare function stateNext(key: usize, size: usize, to: usize, room: usize): i32;
// @ts-ignore: decorator
@external("runnel", "held")
declare function hostHeld(key: usize, size: usize, to: usize, room: usize): i32;

export namespace state {
  /** get returns a value, null if there is none; good until the handler returns. */
  export function get<K>(key: K): Text | null {
    const k = raw(key);
    let room: i32 = 256;
    while (true) {
      const to = take(room);
      const n = stateGet(k.at, k.size, to, room);
      giveBack(to, n < 0 || n > room ? 0 : n);
      if (n < 0) return null;
      if (n <= room) return Text.view(to, n);
      room = n;
    }
  }

  /** set reports whether there was room for it. */
  export function set<K, V>(key: K, value: V): bool {
    const k = raw(key), v = raw(value);
    return stateSet(k.at, k.size, v.at, v.size) == 0;
  }

  /** remove reports whether there was such a key. */
  export function remove<K>(key: K): bool {
    const k = raw(key);
    return stateDelete(k.at, k.size) == 0;
  }

  /** next returns the first key behind that one in the order of bytes, null at the end; "" asks for the first. */
  export function next<K>(key: K): Text | null {
    const k = raw(key);
    const to = take(256); // a key has up to 255
    const n = stateNext(k.at, k.size, to, 256);
    giveBack(to, n < 0 ? 0 : n);
    return n < 0 ? null : Text.view(to, n);
  }
}

/** held returns the records held under a key, null if there are none. They can be read, and no more. */
export function held<K>(key: K): Batch | null {
  const k = raw(key);
  let room: i32 = 4 << 10;
  while (true) {
    const to = take(room);
    const n = hostHeld(k.at, k.size, to, room);
    giveBack(to, n < 0 || n > room ? 0 : n);
    if (n < 0) return null;
    if (n <= room) return Batch.over(to);
    room = n;
  }
}
