// Reader gives back what it reads of a record, in three ways; vectors.mjs
// compares them with what was put in.

import { Attr, Config, Kind, New, Record, configure, each } from "../assembly/runnel";
export { runnel_abi_v1, runnel_alloc } from "../assembly/runnel";

export function runnel_init(at: usize, size: usize): i32 {
  return configure(at, size, (c: Config) => {
    c.known(["text", "number", "yes", "list", "wait", "size", "in", "int", "ints"]);
    const said = [c.text("text", "none").toString(), c.int("number", 7, 0, 100).toString(), c.bool("yes").toString()];
    said.push(c.duration("wait", 5).toString());
    said.push(c.bytes("size", 6).toString());
    const list = c.texts("list");
    for (let i = 0; i < list.length; i++) said.push(list[i].toString());
    if (c.has("int")) said.push(c.int("int", 7).toString());
    const ints = c.texts("ints");
    for (let i = 0; i < ints.length; i++) said.push(ints[i].toInt(7).toString());
    const inner = c.object("in");
    inner.known(["x"]);
    said.push(inner.int("x").toString());
    c.problem(said.join("|")); // says all of it, and is refused
  });
}

export function runnel_process(batch: usize, size: usize): u64 {
  return each(batch, (r: Record) => {
    r.replace().copy(r);
    const n = r.emit().severity(r.severity).facility(r.facility).time(r.time);
    n.host(r.host).app(r.app).procid(r.procid).msgid(r.msgid).route(r.stream).sd(r.sd).message(r.message);
    for (let a = r.nextAttr(null); a; a = r.nextAttr(a)) again(n, r.attr(a.key));
    const m = r.emit().host(r.peer).app(r.input).procid(r.agent).time(r.received).message(r.message.toString());
    m.set("flags", r.flags);
  });
}

function again(n: New, a: Attr): void {
  const key = a.key;
  if (a.kind == Kind.INT) n.set(key, a.int);
  else if (a.kind == Kind.FLOAT) n.set(key, a.float);
  else if (a.kind == Kind.BOOL) n.set(key, a.bool);
  else if (a.kind == Kind.JSON) n.setJSON(key, a.text);
  else if (a.kind == Kind.BYTES) n.setBytes(key, a.text);
  else n.set(key, a.text.toString().length ? a.text : a.text.trim());
}
