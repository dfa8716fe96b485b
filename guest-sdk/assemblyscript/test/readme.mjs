// Compiles what README.md shows, as it stands there, and runs it: a reader types
// these lines first. `make test`.

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import assert from "node:assert/strict";
import { RECORD, fields, guest, records, verdicts } from "./host.mjs";

const sdk = new URL("..", import.meta.url);
const blocks = [...readFileSync(new URL("README.md", sdk), "utf8").matchAll(/^```ts\n([^]*?)^```$/gm)].map((m) => m[1]);
assert.equal(blocks.length, 2, "README.md shows two modules");

/** build compiles a block and loads it. */
function build(n) {
  const file = `test/build/readme-${n}`;
  writeFileSync(new URL(file + ".ts", sdk), blocks[n].replaceAll('"../assembly/', '"../../assembly/'));
  execFileSync("node_modules/.bin/asc", [file + ".ts", "--config", "asconfig.json", "-o", file + ".wasm"], { cwd: sdk, stdio: "inherit" });
  return guest(`build/readme-${n}.wasm`);
}

/** record encodes one (ABI §3.2). */
function record(severity, host, message, attrs = {}) {
  const list = Object.entries(attrs).map(([key, value]) => {
    const head = Buffer.from([1, 0, key.length, 0, value.length, 0, 0, 0]);
    return Buffer.concat([head, Buffer.from(key + value)]);
  });
  const head = Buffer.alloc(RECORD), body = Buffer.concat([Buffer.from(host + message), ...list]);
  head.writeUInt32LE(RECORD + body.length, 0);
  head[4] = severity;
  head.writeUInt16LE(host.length, 24);
  head.writeUInt16LE(list.length, 42);
  head.writeUInt32LE(message.length, 48);
  head.writeUInt32LE(Buffer.concat(list).length, 52);
  return Buffer.concat([head, body]);
}

function batch(...list) {
  const head = Buffer.alloc(16);
  head.write("rb\x01");
  head.writeUInt32LE(16 + Buffer.concat(list).length, 4);
  head.writeUInt32LE(list.length, 8);
  return Buffer.concat([head, ...list]);
}

function first() {
  const g = build(0);
  assert.equal(g.init('{"noise":"/live"}'), 0);
  const out = verdicts(g.process(batch(record(7, "a", "m"), record(6, "a", "throw"), record(6, "a", "m", { path: "/live" }), record(6, "a", "m"))));
  assert.deepEqual(out.map((v) => [v.kind, v.kind == 1 ? v.body.toString() : ""]), [[1, "debug"], [1, "throw"], [1, "noise"], [2, ""]]);
}

function stateful() {
  const g = build(1);
  const second = 1_000_000_000n, start = 1_700_000_000n * second;
  assert.equal(g.init('{"every":"10s"}'), 0);
  assert.equal(g.tick(start).length, 0);
  assert.equal(g.process(batch(record(3, "vm", "x"), record(6, "vm", "y"), record(3, "db", "x"), record(0, "vm", "z"))).length, 0);
  assert.equal(g.tick(start + 9n * second).length, 0);
  const out = verdicts(g.tick(start + 10n * second));
  const said = out.map((v) => [fields(v.body).host.toString(), fields(v.body).message.toString()]);
  assert.deepEqual(said, [["db", "1 errors"], ["vm", "2 errors"]]);
  assert.deepEqual([...g.state], [["since", String(start + 10n * second)]]);
  assert.equal(g.tick(start + 20n * second).length, 0, "nothing was counted");
}

first();
stateful();
console.log("assemblyscript: the modules of README.md compile and run: good");
