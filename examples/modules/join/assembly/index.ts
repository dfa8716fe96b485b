// Join makes one record of what its sender cut apart: stack traces, of which
// each line comes as a record, and lines that Docker cut into pieces of 16 384
// bytes. README.md says how it guesses.

import { Config, Later, Record, configure, each, keepAll, later, now } from "../../../../guest-sdk/assemblyscript/assembly/runnel";
import { Kind, goesOn } from "./lines";
import { Group, find, hold, late, letGo, letGoOld, restore, waiting } from "./group";
import { hash } from "./source";
import { first, lookAhead } from "./ahead";
export { runnel_abi_v1, runnel_alloc } from "../../../../guest-sdk/assemblyscript/assembly/runnel";

let traces = true;
let anyIndented = true;
let patient = false;
let piece: i32 = 16384;
let wait: i64 = 0;
let maxBytes: i64 = 0;
let maxLines: i64 = 0;

export function runnel_init(at: usize, size: usize): i32 {
  return configure(at, size, (c: Config) => {
    c.known(["traces", "indented", "patient", "piece", "wait", "max_bytes", "max_lines"]);
    traces = c.bool("traces", true);
    anyIndented = traces && c.bool("indented", true);
    patient = traces && c.bool("patient", false);
    piece = <i32>c.int("piece", 16384, 0, 1 << 20);
    wait = c.duration("wait", 2_000_000_000);
    maxBytes = c.bytes("max_bytes", 1 << 20);
    maxLines = c.int("max_lines", 1200, 2, 2000);
    if (wait < 100_000_000 || wait > 60_000_000_000) c.problem("wait is not between 100ms and 60s");
    if (maxBytes < 1 || maxBytes > 4 << 20) c.problem("max_bytes is not between 1 and 4MiB");
  });
}

export function runnel_process(batch: usize, size: usize): u64 {
  restore();
  if (!lookAhead(batch, piece, traces, anyIndented, patient) && !waiting()) return keepAll();
  return each(batch, join);
}

export function runnel_tick(time: i64): u64 {
  return later((l: Later) => {
    restore();
    letGoOld(l, wait, false);
  });
}

export function runnel_flush(): u64 {
  return later((l: Later) => {
    restore();
    letGoOld(l, wait, true);
  });
}

function join(r: Record): void {
  let g: Group | null = null;
  let h: u64 = 0;
  if (waiting()) {
    h = hash(r);
    g = find(h, r);
    if (g) {
      if (goOn(r, h, g)) return;
      letGo(r, g);
      g = null;
    }
  }
  const kind = first(r.index);
  if (kind == Kind.NONE) return;
  hold(r, h ? h : hash(r), g, kind);
}

/** goOn holds the record too where it is the rest of the group, and reports whether it did. */
function goOn(r: Record, h: u64, g: Group): bool {
  const message = r.message;
  if (late(g, now(), wait) || g.count >= maxLines || g.bytes + message.size + 1 > maxBytes) return false;
  if (g.kind == Kind.PIECES) {
    // A JSON object that ends where another begins was whole.
    if (message.size > piece || (g.closed && message.startsWith("{"))) return false;
    hold(r, h, g, Kind.PIECES);
    if (message.size < piece) letGo(r, g);
    return true;
  }
  if (message.size == piece && piece) return false;
  const kind = goesOn(g.kind, message);
  if (kind == Kind.NONE) return false;
  hold(r, h, g, kind);
  return true;
}
