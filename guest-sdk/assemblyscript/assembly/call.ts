// The calls of the host: how a guest's exports begin and end.

import { forget } from "./memory";
import { Record, Batch } from "./record";
import { Merge, New, emitNew, filterEnd, filterStart, finish, letGo, mergeHeld, settle, start, turn, DISCARD, RELEASE } from "./output";
import { Config } from "./config";
import { log } from "./host";

/** runnel_abi_v1 says which ABI the guest speaks; only its name matters (ABI §2.1). */
export function runnel_abi_v1(): void {}

let buffer: usize = 0; // what runnel_alloc gave last; the host writes every batch into it

/** runnel_alloc gives the host memory to write to (ABI §2.2). */
export function runnel_alloc(size: usize): usize {
  if (buffer) heap.free(buffer);
  buffer = heap.alloc(size);
  return buffer;
}

/** configure reads the config with f and returns what runnel_init must. */
// @ts-ignore: decorator
@inline
export function configure(at: usize, size: usize, f: (c: Config) => void): i32 {
  forget();
  const c = Config.read(at, size);
  if (c.problems.length == 0) f(c);
  return report(c);
}

function report(c: Config): i32 {
  for (let i = 0; i < c.problems.length; i++) log.error(c.problems[i]);
  return c.problems.length ? 1 : 0;
}

/** each calls f for every record of the batch and returns what runnel_process must. */
// @ts-ignore: decorator
@inline
export function each(batch: usize, f: (r: Record) => void): u64 {
  forget();
  start();
  const n = load<u32>(batch, 8);
  let p = batch + 16;
  for (let i: u32 = 0; i < n; i++) {
    turn(p, i);
    f(changetype<Record>(p));
    settle();
    p += load<u32>(p);
  }
  return finish();
}

/** keepAll is what a runnel_process returns that has looked at its batch by itself, and wants nothing done. */
export function keepAll(): u64 {
  forget();
  return 0;
}

/**
 * filter keeps the records for which f is true and drops the rest, all for one
 * reason: the fastest there is (ABI §4.6).
 */
// @ts-ignore: decorator
@inline
export function filter(batch: usize, reason: string, f: (r: Record) => bool): u64 {
  forget();
  const n = load<u32>(batch, 8);
  let to = filterStart(n, reason);
  let p = batch + 16;
  let dropped = false;
  for (let i: u32 = 0; i < n; i++) {
    const drop = !f(changetype<Record>(p));
    dropped = dropped || drop;
    store<u8>(to++, drop ? 1 : 0);
    p += load<u32>(p);
  }
  return dropped ? filterEnd(to, reason) : 0;
}

/** Later is what a tick or a flush can say. */
@unmanaged
@final
export class Later {
  private constructor() {}
  /** emit adds a record: fill in what it returns, at once. */
  emit(): New {
    return emitNew(0);
  }
  /** release lets go on what is held under the key. */
  release<T>(key: T): void {
    letGo(0, RELEASE, key, "");
  }
  /** discard drops what is held under the key. */
  discard<T, R>(key: T, reason: R): void {
    letGo(0, DISCARD, key, reason);
  }
  /** merge is Record.merge. */
  merge<T>(key: T): Merge {
    return mergeHeld(0, key);
  }
}

/** later calls f between batches and returns what runnel_tick and runnel_flush must. */
// @ts-ignore: decorator
@inline
export function later(f: (l: Later) => void): u64 {
  forget();
  start();
  f(changetype<Later>(0));
  settle();
  return finish();
}
