// A simulated host for the tests: it loads a guest, keeps its state, and takes
// batches and outputs apart. Nothing in it is bounded as the host is.

import { readFileSync } from "node:fs";
import assert from "node:assert/strict";

const here = new URL(".", import.meta.url);

/** The fixed header of a record (ABI §3.2). */
export const RECORD = 56;

/** guest instantiates a module; services are the host's, log collects its lines. */
export function guest(file, services = {}) {
  const log = [], state = new Map();
  let clock = 42n;
  const answer = (s, to, room) => {
    if (s === undefined) return -1;
    const bytes = Buffer.from(s);
    if (bytes.length <= room) new Uint8Array(g.memory.buffer).set(bytes, to);
    return bytes.length;
  };
  const text = (at, n) => Buffer.from(g.memory.buffer, at, n).toString();
  const imports = {
    log: (level, at, n) => log.push(text(at, n)),
    now: () => clock,
    scan: (at, n, word, m) => Buffer.from(g.memory.buffer, at, n).indexOf(Buffer.from(g.memory.buffer, word, m)),
    state_get: (key, n, to, room) => answer(state.get(text(key, n)), to, room),
    state_set: (key, n, value, m) => (state.set(text(key, n), text(value, m)), 0),
    state_delete: (key, n) => (state.delete(text(key, n)) ? 0 : -1),
    state_next: (key, n, to, room) => answer([...state.keys()].sort().find((k) => k > text(key, n)), to, room),
    held: () => -1,
    metric_add: () => {},
    lookup: () => -1,
    ...services,
  };
  const module = new WebAssembly.Module(readFileSync(new URL(file, here)));
  for (const i of WebAssembly.Module.imports(module)) assert.equal(i.module, "runnel", `${file} imports ${i.module}.${i.name}`);
  const g = new WebAssembly.Instance(module, { runnel: imports }).exports;
  g._initialize();
  let buffer = 0, room = -1;
  const give = (bytes) => {
    if (bytes.length > room) {
      buffer = g.runnel_alloc(bytes.length) >>> 0;
      room = bytes.length;
    }
    new Uint8Array(g.memory.buffer).set(bytes, buffer);
    return buffer;
  };
  const init = (config) => {
    log.length = 0;
    return g.runnel_init(give(Buffer.from(config)), Buffer.byteLength(config));
  };
  const output = (r) => Buffer.from(g.memory.buffer, Number(BigInt.asUintN(64, r) >> 32n), Number(r & 0xffffffffn));
  const process = (batch) => output(g.runnel_process(give(batch), batch.length));
  const tick = (now) => ((clock = now), output(g.runnel_tick(now)));
  return { init, process, tick, log, state, pages: () => g.memory.buffer.byteLength >> 16 };
}

/** records splits a batch (ABI §3.1). */
export function records(batch) {
  const all = [];
  for (let at = 16; at < batch.length; at += batch.readUInt32LE(at)) all.push(batch.subarray(at, at + batch.readUInt32LE(at)));
  return all;
}

/** verdicts splits an output of the list form (ABI §4.1). */
export function verdicts(out) {
  const all = [];
  for (let at = 8; at < out.length; at += out.readUInt32LE(at)) {
    all.push({ index: out.readUInt32LE(at + 4), kind: out[at + 8], body: out.subarray(at + 12, at + out.readUInt32LE(at)) });
  }
  assert.equal(all.length, out.length ? out.readUInt32LE(4) : 0);
  return all;
}

/** fields are the lengths of a record's texts and where each is. */
export function fields(r) {
  const names = ["host", "app", "procid", "msgid", "stream", "input", "peer", "agent", "origin"];
  const f = {};
  let at = RECORD;
  names.forEach((name, i) => ((f[name] = r.subarray(at, at + r.readUInt16LE(24 + 2 * i))), (at += f[name].length)));
  for (const [name, place] of [["sd", 44], ["message", 48], ["attrs", 52]]) {
    f[name] = r.subarray(at, at + r.readUInt32LE(place));
    at += f[name].length;
  }
  assert.equal(at, r.length);
  return f;
}
