// Runs guests in Node against a simulated host: over the vectors of the record
// format, which every SDK must read and write, and for as long as it takes to
// see that memory does not grow. `make test`.

import { readFileSync, readdirSync } from "node:fs";
import assert from "node:assert/strict";
import { RECORD, fields, guest, records, verdicts } from "./host.mjs";

const vectors = new URL("../../../record/testdata/vectors/", import.meta.url);

/** own is a record without what the host alone sets (ABI §4.4). */
function own(r) {
  const f = fields(r);
  const head = Buffer.from(r.subarray(0, RECORD));
  head.writeUInt16LE(0, 6);
  head.writeBigInt64LE(0n, 16);
  head.fill(0, 34, 42);
  const body = [f.host, f.app, f.procid, f.msgid, f.stream, f.sd, f.message, f.attrs];
  head.writeUInt32LE(RECORD + Buffer.concat(body).length, 0);
  return Buffer.concat([head, ...body]);
}

function reads() {
  const g = guest("build/reader.wasm");
  let seen = 0;
  for (const name of readdirSync(vectors).filter((n) => n.endsWith(".bin"))) {
    const batch = readFileSync(new URL(name, vectors));
    const json = readFileSync(new URL(name.replace(".bin", ".json"), vectors), "utf8").trim().split("\n").map((l) => JSON.parse(l));
    const said = verdicts(g.process(batch));
    records(batch).forEach((r, i) => {
      const [replaced, emitted, third] = said.splice(0, 3);
      assert.deepEqual([replaced.kind, emitted.kind, third.kind, third.index], [3, 5, 5, i], name);
      assert.deepEqual(replaced.body, own(r), `${name}: a copied record differs`);
      assert.deepEqual(emitted.body, own(r), `${name}: a record read and written differs`);
      const was = fields(r), is = fields(third.body);
      assert.deepEqual([is.host, is.app, is.procid], [was.peer, was.input, was.agent], name);
      assert.equal(third.body.readBigInt64LE(8), r.readBigInt64LE(16), name);
      assert.equal(is.message.toString(), json[i].message ?? "", name);
      assert.equal(is.attrs.readBigInt64LE(8 + 5), BigInt(r.readUInt16LE(6)), name);
      seen++;
    });
    assert.equal(said.length, 0, name);
  }
  return seen;
}

function configs() {
  const g = guest("build/reader.wasm");
  const f = (config, ...want) => {
    assert.equal(g.init(config), 1);
    assert.deepEqual(g.log, want, config);
  };
  f("{}", "none|7|false|5|6|0");
  f("", "none|7|false|5|6|0");
  f(
    ' {"text":"a\\u00e9\\ud83d\\ude00\\n\\"","number":42,"yes":true,"list":["x","é"],"wait":"1.5s","size":"64KiB","in":{"x":-3}} ',
    'aé😀\n"|42|true|1500000000|65536|x|é|-3',
  );
  f('{"size":100,"wait":"2m"}', "none|7|false|120000000000|100|0");
  const [least, most] = ["-9223372036854775808", "9223372036854775807"];
  f(`{"ints":["${least}","${most}","1700000000000000000","-0","0007"]}`, `none|7|false|5|6|${least}|${most}|1700000000000000000|0|7|0`);
  f('{"ints":["9223372036854775808","-9223372036854775809","18446744073709551616","-","","1x"," 1"]}', "none|7|false|5|6|7|7|7|7|7|7|7|0");
  for (const n of [least, most]) f(`{"int":${n}}`, `none|7|false|5|6|${n}|0`);
  f('{"int":9223372036854775808}', "int is 9223372036854775808, not a whole number", "none|7|false|5|6|7|0");
  f('{"text":5}', "text is 5, not a text", "none|7|false|5|6|0");
  f('{"number":101}', "number is 101, not at most 100", "none|101|false|5|6|0");
  f('{"wait":"soon"}', 'wait is "soon", not a time such as "2s" or "100ms"', "none|7|false|-1|6|0");
  f('{"in":{"y":1}}', 'unknown key "in.y"; known are: x', "none|7|false|5|6|0");
  f('{"nmber":1}', 'unknown key "nmber"; known are: text, number, yes, list, wait, size, in, int, ints', "none|7|false|5|6|0");
  for (const broken of ["[]", "{", '{"a"}', '{"a":}', '{"a":1', '{"a":1}x', '{"a":tru}', '{"a":"', "[".repeat(100)]) f(broken, "it is not a JSON object");
}

/** memory sees that two million records, each of which makes strings, take no more than the first. */
function memory() {
  const g = guest("build/reader.wasm");
  const batch = readFileSync(new URL("023-full-batch.bin", vectors));
  const n = records(batch).length;
  for (let i = 0; i < 20; i++) g.process(batch);
  const before = g.pages();
  for (let i = 0; i < 400_000 / n; i++) g.process(batch);
  assert.equal(g.pages(), before, "memory grows");
  return before;
}

function conformance() {
  const g = guest("../dist/conformance.wasm");
  assert.equal(g.init("{}"), 0);
  assert.equal(g.init('{"refuse":"no"}'), 1);
  assert.deepEqual(g.log, ["no"]);
  assert.throws(() => g.init('{"panic":true}'), WebAssembly.RuntimeError);
  assert.match(g.log[0], /^asked to at conformance\/index.ts:\d+:\d+$/);
}

const seen = reads();
configs();
conformance();
console.log(`assemblyscript: ${seen} records of the vectors, configs and conformance, in ${memory()} pages of memory: good`);
