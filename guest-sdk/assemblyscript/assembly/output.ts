// The output of a call (ABI §4): the verdicts, as the SDK writes them down.

import { ATTR, RECORD, copy } from "./memory";
import { Text, most, raw, write } from "./text";
import { Kind, Record, ABSENT, NO_TIME } from "./record";

const HEADER: usize = 8; // of the output: form u8, zero u8[3], count u32
const VERDICT: usize = 12; // size u32, index u32, kind u8, zero u8[3]

export const DROP: u32 = 1;
const PATCH: u32 = 2;
const REPLACE: u32 = 3;
const EMIT: u32 = 5;
export const HOLD: u32 = 6;
export const FAIL: u32 = 7;
export const RELEASE: u32 = 8;
const MERGE: u32 = 9;
export const DISCARD: u32 = 10;

// What is written goes to one buffer, of which these are the beginning, the end
// of what is written, and the end: globals, since each is at hand in one load.
let base: usize = 0;
let end: usize = 0;
let limit: usize = 0;

/** Buffer is one that lies aside: swap changes places with the one at hand. */
@unmanaged
class Buffer {
  base: usize;
  end: usize;
  limit: usize;

  get size(): usize {
    return this.end - this.base;
  }
}

const after = changetype<Buffer>(memory.data(12)); // what follows the verdict on the record at hand
const attrs = changetype<Buffer>(memory.data(12)); // those of the record that is being made

let current: usize = 0; // the record at hand, 0: none
let index: u32 = 0; // its place in the batch
let count: u32 = 0; // verdicts that are finished
let kind: u32 = 0; // of the verdict on the record at hand, 0: none yet
let opened: usize = 0; // where that one begins, from base
let making: u32 = 0; // what fresh will be: EMIT, REPLACE or 0
let beside = false; // there is something in after, or being made

function swap(b: Buffer): void {
  const x = b.base, y = b.end, z = b.limit;
  b.base = base;
  b.end = end;
  b.limit = limit;
  base = x;
  end = y;
  limit = z;
}

/** room makes sure of n more bytes and returns where they go. */
// @ts-ignore: decorator
@inline
function room(n: usize): usize {
  if (end + n > limit) grow(n);
  return end;
}

function grow(n: usize): void {
  const used = end - base;
  const size: usize = max<usize>(2 * (used + n), 16 << 10);
  const bigger = heap.alloc(size);
  if (base) {
    memory.copy(bigger, base, used);
    heap.free(base);
  }
  base = bigger;
  end = bigger + used;
  limit = bigger + size;
}

/** start begins the output of a call. */
export function start(): void {
  end = base;
  end = room(HEADER) + HEADER;
  after.end = after.base;
  count = making = kind = 0;
  beside = false;
  current = 0;
  index = 0xffffffff;
}

/** turn makes the record at p, the nth, the one at hand. */
// @ts-ignore: decorator
@inline
export function turn(p: usize, nth: u32): void {
  current = p;
  index = nth;
}

/** place returns that of the record in the batch. */
export function place(record: usize): u32 {
  if (record != current) stranger();
  return index;
}

/** settle closes what was said of the record at hand. */
// @ts-ignore: decorator
@inline
export function settle(): void {
  if (beside) settleAll();
  else if (kind) close();
}

// @ts-ignore: decorator
@inline
function close(): void {
  const p = base + opened;
  store<u32>(p, <u32>(end - p));
  kind = 0;
  count++;
}

function settleAll(): void {
  finishNew();
  if (kind) close();
  const n = after.size;
  memory.copy(room(n), after.base, n);
  end += n;
  after.end = after.base;
  beside = false;
}

/** finish ends the output and returns it as the host wants it (ABI §2.1). */
export function finish(): u64 {
  if (count == 0) return 0;
  store<u32>(base, count, 4);
  store<u32>(base, 1);
  return (<u64>base << 32) | <u64>(end - base);
}

/** filterStart begins an output of the other form (ABI §4.6) and returns where its n bytes go. */
export function filterStart(n: u32, reason: string): usize {
  end = base;
  const p = room(HEADER + n + most(reason));
  store<u32>(p, n, 4);
  store<u32>(p, 2);
  return p + HEADER;
}

/** filterEnd ends it at p. */
export function filterEnd(p: usize, reason: string): u64 {
  return (<u64>base << 32) | <u64>(write(p, reason) - base);
}

function stranger(): void {
  throw new Error("the record is not the one at hand");
}

/** open begins the verdict on the record at hand. */
// @ts-ignore: decorator
@inline
function open(k: u32): void {
  const p = room(VERDICT);
  store<u64>(p, <u64>index | (<u64>k << 32), 4);
  opened = p - base;
  kind = k;
  end = p + VERDICT;
}

/** begin opens a PATCH, and reports false where a change has no meaning any more. */
// @ts-ignore: decorator
@inline
export function begin(record: usize): bool {
  if (record != current) stranger();
  if (kind == 0) open(PATCH);
  return kind == PATCH;
}

/** reopen opens a verdict in the place of what was said of the record before. */
function reopen(record: usize, k: u32): void {
  if (record != current) stranger();
  if (kind) end = base + opened;
  open(k);
}

/** decide writes a verdict of nothing but a text. */
export function decide<T>(record: usize, k: u32, text: T): void {
  reopen(record, k);
  end = write(room(most(text)), text);
}

/** op appends an operation of n bytes and returns where they go. */
export function op<K>(code: u64, key: K, n: u32): usize {
  const p = room(ATTR + most(key) + n);
  const v = write(p + ATTR, key);
  store<u64>(p, code | (<u64>(v - p - ATTR) << 16) | (<u64>n << 32));
  end = v + n;
  return v;
}

/** put appends an operation with a key and a text. */
export function put<K, V>(code: u64, key: K, value: V): void {
  const p = room(ATTR + most(key) + most(value));
  const v = write(p + ATTR, key);
  end = write(v, value);
  store<u64>(p, code | (<u64>(v - p - ATTR) << 16) | (<u64>(end - v) << 32));
}

/** field appends an operation with a text and no key. */
export function field<V>(code: u64, value: V): void {
  const p = room(ATTR + most(value));
  end = write(p + ATTR, value);
  store<u64>(p, code | (<u64>(end - p - ATTR) << 32));
}

/** set appends an operation that sets an attribute, of the kind that the value has. */
// @ts-ignore: decorator
@inline
export function set<K, V>(key: K, value: V): void {
  if (isBoolean<V>()) store<u8>(op(Kind.BOOL, key, 1), value ? 1 : 0);
  else if (isInteger<V>()) store<i64>(op(Kind.INT, key, 8), <i64>value);
  else if (isFloat<V>()) store<f64>(op(Kind.FLOAT, key, 8), <f64>value);
  else put(Kind.STRING, key, value);
}

/** addAttr appends n bytes, an attribute as encoded. */
// @ts-ignore: decorator
@inline
export function addAttr(from: usize, n: usize): void {
  const p = room(max<usize>(n, 32));
  if (n - 16 <= 16) {
    // the last first: the host's compiler checks the bounds of the highest only
    const last = from + n - 16, to = p + n - 16;
    const a = load<u64>(last, 8), b = load<u64>(last), c = load<u64>(from, 8), d = load<u64>(from);
    store<u64>(p, c, 8);
    store<u64>(p, d);
    store<u64>(to, a, 8);
    store<u64>(to, b);
  } else copy(p, from, n);
  end = p + n;
}

/** aside makes the place for verdicts beside that on the record the one at hand, and reports whether it swapped. */
function aside(record: usize): bool {
  if (record != current) stranger();
  finishNew();
  if (kind == 0 && after.size == 0) return false;
  swap(after);
  return (beside = true);
}

/** letGo writes a RELEASE or DISCARD. */
export function letGo<T, R>(record: usize, k: u32, key: T, reason: R): void {
  const swapped = aside(record);
  const p = room(VERDICT + 4 + most(key) + most(reason));
  end = write(keyed(p, k, key), reason);
  store<u32>(p, <u32>(end - p));
  if (swapped) swap(after);
}

/** keyed writes a verdict up to its key and counts it. */
function keyed<T>(p: usize, k: u32, key: T): usize {
  store<u32>(p, index, 4);
  store<u32>(p, k, 8);
  count++;
  if (k == RELEASE) return write(p + VERDICT, key);
  const end = write(p + VERDICT + 4, key);
  store<u32>(p, <u32>(end - p - VERDICT - 4), VERDICT);
  return end;
}

let merged: usize = 0; // where the MERGE begins, from the base of its buffer
let mergedAside = false;

/** mergeHeld begins a MERGE; its size grows with each operation. */
export function mergeHeld<T>(record: usize, key: T): Merge {
  mergedAside = aside(record);
  const p = room(VERDICT + 4 + most(key));
  end = keyed(p, MERGE, key);
  merged = p - base;
  return mergeOn(true);
}

/** mergeOn brings the buffer of the MERGE to hand, or puts it back with its size written. */
function mergeOn(done: bool): Merge {
  if (!done && mergedAside) swap(after);
  if (done) {
    const p = base + merged;
    store<u32>(p, <u32>(end - p));
    if (mergedAside) swap(after);
  }
  return changetype<Merge>(1);
}

/** Merge is how a merged record changes. Say all of it at once, before anything else. */
@unmanaged
@final
export class Merge {
  private constructor() {}
  /** join gives it the messages of all, with the separator between them. */
  join<T>(separator: T): Merge {
    mergeOn(false);
    field(26, separator);
    return mergeOn(true);
  }
  /** set sets an attribute, as Record.set does. */
  set<K, V>(key: K, value: V): Merge {
    mergeOn(false);
    set(key, value);
    return mergeOn(true);
  }
  remove<K>(key: K): Merge {
    mergeOn(false);
    put(7, key, "");
    return mergeOn(true);
  }
  setSeverity(severity: u8): Merge {
    mergeOn(false);
    store<u8>(op(16, "", 1), severity);
    return mergeOn(true);
  }
  setMessage<T>(message: T): Merge {
    mergeOn(false);
    field(24, message);
    return mergeOn(true);
  }
  route<T>(stream: T): Merge {
    mergeOn(false);
    field(25, stream);
    return mergeOn(true);
  }
}

/**
 * New is a record that a guest makes. What is not set is absent. The host fills
 * in where it came from: a guest cannot forge that. Fill it in at once: it is
 * written down when something else is said.
 */
@final
export class New {
  private severityIs: u8;
  private facilityIs: u8;
  private timeIs: i64;
  private attrCount: u32;
  private hostIs: Text = NOTHING;
  private appIs: Text = NOTHING;
  private procidIs: Text = NOTHING;
  private msgidIs: Text = NOTHING;
  private streamIs: Text = NOTHING;
  private sdIs: Text = NOTHING;
  private messageIs: Text = NOTHING;

  /** copy takes over every field and attribute of r that a guest may set. */
  copy(r: Record): New {
    this.severityIs = r.severity;
    this.facilityIs = r.facility;
    this.timeIs = r.time;
    this.hostIs = r.host;
    this.appIs = r.app;
    this.procidIs = r.procid;
    this.msgidIs = r.msgid;
    this.streamIs = r.stream;
    this.sdIs = r.sd;
    this.messageIs = r.message;
    const n: usize = load<u32>(changetype<usize>(r), 52);
    swap(attrs);
    end = base;
    memory.copy(room(n), changetype<usize>(r) + load<u32>(changetype<usize>(r)) - n, n);
    end += n;
    swap(attrs);
    this.attrCount = load<u16>(changetype<usize>(r), 42);
    return this;
  }
  severity(severity: u8): New {
    this.severityIs = severity;
    return this;
  }
  facility(facility: u8): New {
    this.facilityIs = facility;
    return this;
  }
  time(nanoseconds: i64): New {
    this.timeIs = nanoseconds;
    return this;
  }
  host<T>(host: T): New {
    this.hostIs = raw(host);
    return this;
  }
  app<T>(app: T): New {
    this.appIs = raw(app);
    return this;
  }
  procid<T>(procid: T): New {
    this.procidIs = raw(procid);
    return this;
  }
  msgid<T>(msgid: T): New {
    this.msgidIs = raw(msgid);
    return this;
  }
  sd<T>(sd: T): New {
    this.sdIs = raw(sd);
    return this;
  }
  message<T>(message: T): New {
    this.messageIs = raw(message);
    return this;
  }
  /** route sends it to a stream of the config. */
  route<T>(stream: T): New {
    this.streamIs = raw(stream);
    return this;
  }
  /** set adds an attribute, as Record.set does. A key must be added once only. */
  set<K, V>(key: K, value: V): New {
    swap(attrs);
    set(key, value);
    swap(attrs);
    this.attrCount++;
    return this;
  }
  setJSON<K, V>(key: K, json: V): New {
    swap(attrs);
    put(Kind.JSON, key, json);
    swap(attrs);
    this.attrCount++;
    return this;
  }
  /** setBytes adds an attribute of bytes that are no text. */
  setBytes<K>(key: K, value: Text): New {
    swap(attrs);
    put(Kind.BYTES, key, value);
    swap(attrs);
    this.attrCount++;
    return this;
  }

  /** @internal reset empties it. */
  reset(): void {
    this.severityIs = this.facilityIs = ABSENT;
    this.timeIs = NO_TIME;
    this.attrCount = 0;
    this.hostIs = this.appIs = this.procidIs = this.msgidIs = this.streamIs = this.sdIs = this.messageIs = NOTHING;
    attrs.end = attrs.base;
  }

  /** @internal encode appends the record to the output (ABI §3.2). */
  encode(): void {
    const texts = this.hostIs.size + this.appIs.size + this.procidIs.size + this.msgidIs.size + this.streamIs.size;
    const extra = attrs.size;
    const size = RECORD + texts + this.sdIs.size + this.messageIs.size + extra;
    const p = room(size);
    memory.fill(p, 0, RECORD);
    store<u32>(p, <u32>size);
    store<u8>(p, this.severityIs, 4);
    store<u8>(p, this.facilityIs, 5);
    store<i64>(p, this.timeIs, 8);
    store<u16>(p, <u16>this.hostIs.size, 24);
    store<u16>(p, <u16>this.appIs.size, 26);
    store<u16>(p, <u16>this.procidIs.size, 28);
    store<u16>(p, <u16>this.msgidIs.size, 30);
    store<u16>(p, <u16>this.streamIs.size, 32);
    store<u16>(p, <u16>this.attrCount, 42);
    store<u32>(p, this.sdIs.size, 44);
    store<u32>(p, this.messageIs.size, 48);
    store<u32>(p, <u32>extra, 52);
    let to = write(p + RECORD, this.hostIs);
    to = write(to, this.appIs);
    to = write(to, this.procidIs);
    to = write(to, this.msgidIs);
    to = write(to, this.streamIs);
    to = write(to, this.sdIs);
    to = write(to, this.messageIs);
    memory.copy(to, attrs.base, extra);
    end = to + extra;
  }
}

const NOTHING = changetype<Text>(memory.data(8));
const fresh = new New();

function renew(k: u32): New {
  fresh.reset();
  making = k;
  beside = true;
  return fresh;
}

/** emitNew begins an EMIT; of no record if record is 0. */
export function emitNew(record: usize): New {
  if (record != current) stranger();
  finishNew();
  return renew(EMIT);
}

/** replaceNew begins a REPLACE. */
export function replaceNew(record: usize): New {
  finishNew();
  reopen(record, REPLACE);
  return renew(REPLACE);
}

/** finishNew writes down the record that is being made, if one is. */
function finishNew(): void {
  const k = making;
  making = 0;
  if (k == EMIT) {
    swap(after);
    const from = end - base;
    end = room(VERDICT) + VERDICT;
    fresh.encode();
    const p = base + from;
    store<u32>(p, <u32>(end - p));
    store<u32>(p, index, 4);
    store<u32>(p, EMIT, 8);
    count++;
    swap(after);
  } else if (k == REPLACE && kind == REPLACE) {
    fresh.encode(); // nothing else was decided since
  }
}
