// What the host offers (ABI §5). A function that a guest does not use is not
// imported, and so need not be granted.

import { Text, raw } from "./text";
import { take } from "./memory";

// @ts-ignore: decorator
@external("runnel", "log")
declare function hostLog(level: i32, at: usize, size: usize): void;
// @ts-ignore: decorator
@external("runnel", "now")
declare function hostNow(): i64;
// @ts-ignore: decorator
@external("runnel", "metric_add")
declare function hostMetricAdd(name: usize, size: usize, by: f64): void;
// @ts-ignore: decorator
@external("runnel", "lookup")
declare function hostLookup(table: usize, tableSize: usize, key: usize, keySize: usize, to: usize, room: usize): i32;

/** now returns the batch's clock: nanoseconds since 1970 UTC, the same for all of a call. */
export function now(): i64 {
  return hostNow();
}

/** Lines for the agent's log. The host lets ten a second through. */
export namespace log {
  export function debug<T>(line: T): void {
    const t = raw(line);
    hostLog(0, t.at, t.size);
  }
  export function info<T>(line: T): void {
    const t = raw(line);
    hostLog(1, t.at, t.size);
  }
  export function warn<T>(line: T): void {
    const t = raw(line);
    hostLog(2, t.at, t.size);
  }
  export function error<T>(line: T): void {
    const t = raw(line);
    hostLog(3, t.at, t.size);
  }
}

/**
 * metric adds to the counter runnel_guest_NAME. The name is [a-z][a-z0-9_]*.
 * Needs `grant: [metrics]`.
 */
export function metric<T>(name: T, by: f64 = 1): void {
  const t = raw(name);
  hostMetricAdd(t.at, t.size, by);
}

/**
 * lookup finds a row of a table of the config, a JSON object; null if the table
 * or the row is not there. Needs `tables: {NAME: …}`.
 */
export function lookup<T, K>(table: T, key: K): Text | null {
  const t = raw(table), k = raw(key);
  let room: i32 = 256;
  while (true) {
    const to = take(room);
    const n = hostLookup(t.at, t.size, k.at, k.size, to, room);
    if (n < 0) return null;
    if (n <= room) return Text.view(to, n);
    room = n;
  }
}

/**
 * abortion is what AssemblyScript calls where a guest throws, or breaks a bound:
 * it logs why, and traps. asconfig.json names it.
 */
// @ts-ignore: decorator
@global
export function runnelAbort(message: string | null, file: string | null, line: u32, column: u32): void {
  let said = message ? message : "abort";
  if (file) said += " at " + file + ":" + line.toString() + ":" + column.toString();
  log.error(said);
  unreachable();
}
