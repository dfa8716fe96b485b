// Who sent a record: lines are joined with those of the same source only.

import { Record, Text } from "../../../../guest-sdk/assemblyscript/assembly/runnel";

const MIX: u64 = 0x9e3779b97f4a7c15;
const LONGEST = 240;

const buffer = heap.alloc(LONGEST + 16);

/**
 * hash is a number for the source of r: host, app, procid, peer and input, and
 * the severity, which tells stdout from stderr where Docker sends.
 */
export function hash(r: Record): u64 {
  const host = r.host, procid = r.procid, input = r.input, peer = r.peer;
  let h = ((<u64>r.severity << 8) | r.facility) + MIX;
  h = add(h, host.at, procid.at + procid.size - host.at); // host, app and procid lie one behind the other
  h = add(h, input.at, input.size + peer.size);
  return (h ^ <u64>r.app.size) * MIX;
}

function add(h: u64, p: usize, n: usize): u64 {
  if (n < 8) return rotl(h ^ few(p, n), 29) * MIX;
  const last = p + n - 8; // it may overlap with the one before: no loop over single bytes
  for (; p < last; p += 8) h = rotl(h ^ load<u64>(p), 29) * MIX;
  return rotl(h ^ load<u64>(last) ^ (<u64>n << 56), 29) * MIX;
}

/** few makes one number of less than eight bytes. */
function few(p: usize, n: usize): u64 {
  if (n >= 4) return <u64>load<u32>(p) | (<u64>load<u32>(p + n - 4) << 32);
  if (n == 0) return 0;
  return <u64>load<u8>(p) | (<u64>load<u8>(p + (n >> 1)) << 8) | (<u64>load<u8>(p + n - 1) << 16) | (<u64>n << 24);
}

/** key is the source as the name under which its records are held; good until the next call. */
export function key(r: Record): Text {
  let p = part(buffer, r.host);
  p = part(p, r.app);
  p = part(p, r.procid);
  p = part(p, r.input);
  p = part(p, r.peer);
  p = number(p, r.facility);
  store<u8>(p++, 0x2e);
  p = number(p, r.severity);
  if (<i32>(p - buffer) > LONGEST - 32) {
    let h = hash(r);
    p = buffer + LONGEST - 32;
    for (let i = 0; i < 16; i++, h >>= 4) store<u8>(p++, <u8>(0x61 + (h & 15)));
  }
  return Text.view(buffer, <i32>(p - buffer));
}

/** part writes a text and a separator, as far as there is room. */
function part(p: usize, t: Text): usize {
  const n = min(t.size, max(0, LONGEST - 16 - <i32>(p - buffer)));
  memory.copy(p, t.at, n);
  store<u8>(p + n, 0x1f);
  return p + n + 1;
}

/** number writes a number in decimal and returns where it ends. */
export function number(p: usize, n: u64): usize {
  let width: u64 = 1;
  while (n / width >= 10) width *= 10;
  for (; width; width /= 10) store<u8>(p++, <u8>(0x30 + ((n / width) % 10)));
  return p;
}
