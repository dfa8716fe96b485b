// A look ahead: most lines of a trace come in one batch, and a line need not
// look like the first of one where the next of its source is indented.

import { Batch, Record } from "../../../../guest-sdk/assemblyscript/assembly/runnel";
import { goesOnWithAny } from "./lines";
import { hash } from "./source";

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
let looked = false;

/** followed reports whether the record is held for what may come behind it. */
export function followed(index: u32): bool {
  return looked && load<u8>(marks + index) != 0;
}

/** lookAhead marks the records of the batch behind which an indented line of their source comes, and, for the patient, may come. */
export function lookAhead(batch: usize, anyIndented: bool, patient: bool): void {
  looked = patient;
  const n = load<u32>(batch, 8);
  for (let i: u32 = 0, p = batch + 16; i < n && !looked && anyIndented; i++, p += load<u32>(p)) {
    looked = goesOnWithAny(changetype<Record>(p).message);
  }
  if (!looked) return;
  if (n > room) {
    if (marks) heap.free(marks);
    marks = heap.alloc(n);
    room = n;
  }
  memory.fill(marks, 0, n);
  memory.fill(slots, 0, SLOTS * offsetof<Slot>());
  for (let i: u32 = 0, p = batch + 16; i < n; i++, p += load<u32>(p)) {
    const r = changetype<Record>(p);
    const h = hash(r);
    const s = changetype<Slot>(slots + <usize>(h >> 54) * offsetof<Slot>());
    const before = s.index;
    const same = before != 0 && s.hash == h;
    if (before && (same ? anyIndented && goesOnWithAny(r.message) : patient)) store<u8>(marks + before - 1, 1);
    s.hash = h;
    s.index = i + 1;
  }
  if (!patient) return;
  for (let i: usize = 0; i < SLOTS; i++) {
    const s = changetype<Slot>(slots + i * offsetof<Slot>());
    if (s.index) store<u8>(marks + s.index - 1, 1);
  }
}
