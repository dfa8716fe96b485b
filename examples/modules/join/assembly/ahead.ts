// A look ahead over the batch: what each line says of itself, and whether its
// source goes on behind it. Most lines of a trace come in one batch, so a line
// need not look like the first of one; and most batches hold no trace at all.

import { Record } from "../../../../guest-sdk/assemblyscript/assembly/runnel";
import { CONTINUES, Kind, look } from "./lines";
import { hash } from "./source";

const FOLLOWED: u8 = 16;
const SLOTS: usize = 1024;

/** The last line of a source: where its hash says, unless another has taken the place. */
@unmanaged
class Slot {
  hash: u64;
  index: u32; // and 1
  pad: u32;
}

const slots = heap.alloc(SLOTS * offsetof<Slot>());
let marks: usize = 0; // a byte for each record
let room: u32 = 0;

/** first returns what a record may be the first of: the kind; NONE: it goes on at once. */
export function first(index: u32): u8 {
  const mark = load<u8>(marks + index);
  const kind = mark & 7;
  return kind == Kind.NONE && mark != 0 ? Kind.TRACE : kind;
}

/**
 * lookAhead looks at each record of the batch, and reports whether any is more
 * than a line. Of a size of piece is a piece; any says that a line goes on with
 * any before it, and patient that any may be gone on with.
 */
export function lookAhead(batch: usize, piece: u32, traces: bool, any: bool, patient: bool): bool {
  const n = load<u32>(batch, 8);
  if (n > room) {
    if (marks) heap.free(marks);
    marks = heap.alloc(n);
    room = n;
  }
  const wanted: u8 = traces ? (any ? 255 : 7) : 0;
  let found: u8 = 0;
  for (let i: u32 = 0, p = batch + 16; i < n; i++) {
    const attrs = load<u32>(p, 52), size = load<u32>(p, 48), end = p + load<u32>(p);
    const mark = size == piece && size ? Kind.PIECES : look(end - attrs - size, size) & wanted;
    store<u8>(marks + i, mark);
    found |= mark;
    p = end;
  }
  if (patient || found & CONTINUES) follow(batch, n, patient);
  return patient || found != 0;
}

/** follow marks the records behind which a line of their source goes on, and for the patient, may go on. */
function follow(batch: usize, n: u32, patient: bool): void {
  memory.fill(slots, 0, SLOTS * offsetof<Slot>());
  for (let i: u32 = 0, p = batch + 16; i < n; i++, p += load<u32>(p)) {
    const h = hash(changetype<Record>(p));
    const s = changetype<Slot>(slots + <usize>(h >> 54) * offsetof<Slot>());
    const before = s.index;
    const same = before != 0 && s.hash == h;
    if (before && (same ? load<u8>(marks + i) & CONTINUES : patient)) mark(before - 1);
    s.hash = h;
    s.index = i + 1;
  }
  for (let i: usize = 0; i < SLOTS && patient; i++) {
    const s = changetype<Slot>(slots + i * offsetof<Slot>());
    if (s.index) mark(s.index - 1);
  }
}

function mark(i: u32): void {
  store<u8>(marks + i, load<u8>(marks + i) | FOLLOWED);
}
