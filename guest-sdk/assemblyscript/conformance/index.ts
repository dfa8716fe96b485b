// Conformance is a guest that does what each record's message says, one
// operation a line, so that a test of the host can ask for every verdict.
// wasm/conformance_test.go says what must come of it.

import { Config, Kind, Later, Record, Severity, Text, configure, each, held, later, log, lookup, metric, now, state } from "../assembly/runnel";
export { runnel_abi_v1, runnel_alloc } from "../assembly/runnel";

export function runnel_init(at: usize, size: usize): i32 {
  return configure(at, size, (c: Config) => {
    const text = c.text("refuse");
    if (text.size) c.problem(text.toString());
    if (c.bool("panic")) throw new Error("asked to");
  });
}

export function runnel_process(batch: usize, size: usize): u64 {
  return each(batch, obey);
}

export function runnel_tick(time: i64): u64 {
  return later((l: Later) => {
    l.emit().message("tick").set("now", now());
    l.release("tick");
  });
}

export function runnel_flush(): u64 {
  return later((l: Later) => {
    l.emit().message("flush");
  });
}

function obey(r: Record): void {
  const rest = new Words(r.message);
  while (rest.left.size) {
    const line = rest.next(0x0a);
    const words = new Words(line);
    const verb = words.next(0x20);
    if (!decide(r, verb, words.left) && !change(r, verb, words.left) && !keep(r, verb, words.left) && !ask(r, verb, words)) {
      misbehave(verb);
    }
  }
}

/** Words is a text that is taken apart from its beginning. */
class Words {
  constructor(public left: Text) {}

  /** next takes what is before the next c, and c. */
  next(c: u8): Text {
    const t = this.left;
    const i = t.indexOfByte(c);
    const n = i < 0 ? t.size : i;
    this.left = t.slice(n + 1);
    return t.slice(0, n);
  }
}

function decide(r: Record, verb: Text, argument: Text): bool {
  if (verb.equals("drop")) r.drop(argument);
  else if (verb.equals("fail")) r.fail(argument);
  else if (verb.equals("route")) r.route(argument);
  else if (verb.equals("replace")) r.replace().host("new").message(argument).set("n", 1);
  else if (verb.equals("emit")) r.emit().copy(r).message(argument).set("child", "yes");
  else if (verb.equals("emit-to")) {
    const words = new Words(argument);
    r.emit().severity(Severity.ERR).route(words.next(0x20)).message(words.left);
  } else if (verb.equals("flood")) {
    for (let i = 0; i < 65; i++) r.emit().message("x");
  } else return verb.equals("keep");
  return true;
}

function change(r: Record, verb: Text, argument: Text): bool {
  const words = new Words(argument);
  const key = words.next(0x20), value = words.left;
  if (verb.equals("set")) r.set(key, value);
  else if (verb.equals("copy")) r.set(value, r.attr(key).text);
  else if (verb.equals("int")) r.set(key, -value.size);
  else if (verb.equals("float")) r.set(key, <f64>value.size + 0.5);
  else if (verb.equals("bool")) r.set(key, value.equals("true"));
  else if (verb.equals("json")) r.setJSON(key, value);
  else if (verb.equals("remove")) r.remove(argument);
  else if (verb.equals("message")) r.setMessage(argument);
  else if (verb.equals("severity")) r.setSeverity(argument[0] - 0x30);
  else if (verb.equals("facility")) r.setFacility(argument[0] - 0x30);
  else if (verb.equals("time")) r.setTime(now());
  else if (verb.equals("host")) r.setHost(argument);
  else if (verb.equals("app")) r.setApp(argument);
  else if (verb.equals("procid")) r.setProcid(argument);
  else if (verb.equals("msgid")) r.setMsgid(argument);
  else if (verb.equals("sd")) r.setSD(argument);
  else return false;
  return true;
}

/** keep does what is about state and held records. */
function keep(r: Record, verb: Text, argument: Text): bool {
  const words = new Words(argument);
  const key = words.next(0x20), value = words.left;
  if (verb.equals("hold")) r.hold(key);
  else if (verb.equals("release")) r.release(key);
  else if (verb.equals("discard")) r.discard(key, value);
  else if (verb.equals("merge")) {
    const merge = r.merge(key);
    (key.size < argument.size ? merge.join(value) : merge.join("\n")).set("merged", true);
  } else if (verb.equals("put")) state.set(key, value);
  else if (verb.equals("forget")) state.remove(key);
  else if (verb.equals("get")) {
    const v = state.get(key);
    if (v) r.set(key, v);
    else r.set(key, "none");
  } else if (verb.equals("count")) {
    const v = state.get(key);
    const n = (v ? v.toInt() : 0) + 1;
    state.set(key, n.toString());
    r.set(key, n);
  } else if (verb.equals("keys")) {
    let keys = "";
    for (let k = state.next(""); k; k = state.next(k)) keys += (keys.length ? "," : "") + k.toString();
    r.set("keys", keys);
  } else if (verb.equals("heldcount")) {
    const b = held(key);
    let n = 0;
    if (b) while (b.next()) n++;
    r.set("held", n);
  } else return false;
  return true;
}

/** ask does what is about the other services of the host. */
function ask(r: Record, verb: Text, words: Words): bool {
  if (verb.equals("log")) log.warn(words.left);
  else if (verb.equals("print")) log.info(words.left); // no WASI, and so no output of its own
  else if (verb.equals("find")) r.set("at", r.message.indexOf(words.left));
  else if (verb.equals("metric")) {
    const name = words.next(0x20);
    metric(name, <f64>words.left.toInt());
  } else if (verb.equals("lookup")) {
    const table = words.next(0x20);
    const row = lookup(table, words.left);
    if (row) r.setJSON("row", row);
    else r.set("row", "none");
  } else return false;
  return true;
}

let garbage: Array<ArrayBuffer> = [];

/** misbehave does what a guest must not, to see that the host lives. */
function misbehave(verb: Text): void {
  if (verb.equals("panic")) throw new Error("asked to");
  if (verb.equals("index")) {
    garbage[garbage.length].byteLength;
  } else if (verb.equals("loop")) {
    while (true) garbage.length = 0;
  } else if (verb.equals("memory")) {
    while (true) garbage.push(new ArrayBuffer(1 << 20));
  } else if (verb.equals("recurse")) {
    garbage.length = deep(0) & 1;
  } else if (verb.equals("block")) {
    unreachable(); // there is nothing to wait for
  }
}

/** deep ends when the host says so. */
function deep(n: i32): i32 {
  return deep(n + 1) + garbage.length;
}
