// Groups are the records that are held until the rest has come: one for a
// source at most. The state holds what is known of each under the same key as
// its records; the map is a copy of that, made anew by each instance.

import { Later, Record, Text, log, now, state } from "../../../../guest-sdk/assemblyscript/assembly/runnel";
import { Kind } from "./lines";
import { hash, key, number } from "./source";

/** What is held at most, of all sources: the host would hold 4096 records and the state's size. */
const MOST_RECORDS = 3000;
const MOST_BYTES: i64 = 8 << 20;

export class Group {
  count: i32 = 0;
  bytes: i64 = 0;
  since: i64 = 0;
  last: i64 = 0;
  closed: bool = false; // its last piece ends with a brace

  constructor(
    public hash: u64,
    public key: Text,
    public kind: u8,
  ) {}
}

const groups = new Map<u64, Group>();
const some = memory.data(1024, 2); // how many groups have a hash that begins with these nine bits: most records are of none
let restored = false;
let records = 0;
let bytes: i64 = 0;

/** waiting reports whether anything is held. */
export function waiting(): bool {
  return groups.size > 0;
}

// @ts-ignore: decorator
@inline
function nine(h: u64): usize {
  return <usize>(h >> 55) << 1;
}

/** enter adds a group to the map. */
function enter(g: Group): void {
  groups.set(g.hash, g);
  store<u16>(some + nine(g.hash), load<u16>(some + nine(g.hash)) + 1);
}

/** find returns the group of a record's source, null if there is none. */
export function find(h: u64, r: Record): Group | null {
  if (load<u16>(some + nine(h)) == 0 || !groups.has(h)) return null;
  const g = groups.get(h);
  return g.key == key(r) ? g : null;
}

/** hold puts the record into its source's group, or keeps it where that cannot be. */
export function hold(r: Record, h: u64, found: Group | null, kind: u8): void {
  if (!found && groups.has(h)) return; // another source with the same hash
  const message = r.message;
  makeRoom(r, message.size, found);
  const g = found ? found : new Group(h, key(r).keep(), kind);
  const before = g.count;
  if (before == 0) {
    g.since = now();
    enter(g);
  }
  g.kind = kind;
  g.last = now();
  g.closed = message.size > 0 && message[message.size - 1] == 0x7d;
  if (!save(g, before + 1, g.bytes + message.size)) {
    log.warn("no room to wait for the rest of a record; raise the module's state");
    if (before) letGo(r, g);
    else forget(g);
    return;
  }
  g.count++;
  g.bytes += message.size;
  records++;
  bytes += message.size;
  r.hold(g.key);
}

/** makeRoom lets go what has waited longest, but for one group, until so many bytes more can wait. */
function makeRoom(r: Record, size: i32, but: Group | null): void {
  while (records >= MOST_RECORDS || bytes + size > MOST_BYTES) {
    const g = oldest(but);
    if (!g) return;
    letGo(r, g);
  }
}

/** letGo lets the group go: before what r has been said of, or behind it. */
export function letGo(r: Record, g: Group): void {
  if (g.count < 2) r.release(g.key);
  else r.merge(g.key).join(between(g)).set("joined", g.count).set("join", "guessed");
  forget(g);
}

/** letGoOld lets go what has waited too long for its rest, or, where all is true, everything. */
export function letGoOld(l: Later, wait: i64, all: bool): void {
  const list = groups.values();
  list.sort((a: Group, b: Group): i32 => (a.since == b.since ? a.key.compare(b.key) : a.since < b.since ? -1 : 1));
  const time = now();
  for (let i = 0; i < list.length; i++) {
    const g = list[i];
    if (!all && !late(g, time, wait)) continue;
    if (g.count < 2) l.release(g.key);
    else l.merge(g.key).join(between(g)).set("joined", g.count).set("join", "guessed");
    forget(g);
  }
}

/** late reports whether nothing has come for so long, or something again and again for five times that. */
export function late(g: Group, time: i64, wait: i64): bool {
  return time - g.last >= wait || time - g.since >= 5 * wait;
}

function between(g: Group): string {
  return g.kind == Kind.PIECES ? "" : "\n";
}

function forget(g: Group): void {
  records -= g.count;
  bytes -= g.bytes;
  state.remove(g.key);
  groups.delete(g.hash);
  store<u16>(some + nine(g.hash), load<u16>(some + nine(g.hash)) - 1);
  g.key.free();
}

function oldest(but: Group | null): Group | null {
  const list = groups.values();
  let g: Group | null = null;
  for (let i = 0; i < list.length; i++) {
    if (list[i] !== but && (!g || list[i].since < g.since)) g = list[i];
  }
  return g;
}

const line = heap.alloc(160);

/** save writes what is known of a group: hash, kind, count, bytes, since, last, closed. */
function save(g: Group, count: i32, size: i64): bool {
  let p = number(line, g.hash);
  const numbers: StaticArray<u64> = [g.kind, count, size, g.since, g.last, g.closed ? 1 : 0];
  for (let i = 0; i < numbers.length; i++) {
    store<u8>(p++, 0x20);
    p = number(p, numbers[i]);
  }
  return state.set(g.key, Text.view(line, <i32>(p - line)));
}

/** restore reads the groups that an earlier instance left, once. */
export function restore(): void {
  if (restored) return;
  restored = true;
  for (let k = state.next(""); k; k = state.next(k)) {
    const value = state.get(k);
    if (!value) continue;
    const n: StaticArray<u64> = [0, 0, 0, 0, 0, 0, 0];
    let field = 0;
    for (let i = 0; i < value.size; i++) {
      if (value[i] == 0x20) field++;
      else if (field < n.length) n[field] = n[field] * 10 + (value[i] - 0x30);
    }
    const g = new Group(n[0], k.keep(), <u8>n[1]);
    g.count = <i32>n[2];
    g.bytes = n[3];
    g.since = n[4];
    g.last = n[5];
    g.closed = n[6] != 0;
    enter(g);
    records += g.count;
    bytes += g.bytes;
  }
}
