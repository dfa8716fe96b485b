// A reader of JSON (RFC 8259) that splits: what a value means is the caller's
// business. It works on bytes, in their place.

import { Text } from "./text";

const DEEPEST = 32;

/** Parser reads one JSON text. */
export class Parser {
  private p: usize;
  private end: usize;
  private depth: i32 = 0;

  constructor(text: Text) {
    this.p = text.at;
    this.end = text.at + text.size;
  }

  /** peek returns the next byte that is no space, 0 at the end. */
  peek(): u8 {
    while (this.p < this.end) {
      const c = load<u8>(this.p);
      if (c != 0x20 && c != 0x0a && c != 0x09 && c != 0x0d) return c;
      this.p++;
    }
    return 0;
  }

  take(c: u8): bool {
    if (this.peek() != c || this.p == this.end) return false;
    this.p++;
    return true;
  }

  /** object reports whether there is one, and adds its keys and raw values. */
  object(keys: Array<Text> | null, values: Array<Text> | null): bool {
    if (!this.take(0x7b)) return false;
    if (this.take(0x7d)) return true;
    while (true) {
      const key = this.peek() == 0x22 ? this.value() : null;
      if (!key || !this.take(0x3a)) return false;
      const value = this.value();
      if (!value) return false;
      if (keys) keys.push(unquote(key));
      if (values) values.push(value);
      if (this.take(0x7d)) return true;
      if (!this.take(0x2c)) break;
    }
    return false;
  }

  /** list reports whether there is an array, and adds its raw values. */
  list(values: Array<Text> | null): bool {
    if (!this.take(0x5b)) return false;
    if (this.take(0x5d)) return true;
    while (true) {
      const value = this.value();
      if (!value) return false;
      if (values) values.push(value);
      if (this.take(0x5d)) return true;
      if (!this.take(0x2c)) break;
    }
    return false;
  }

  /** value returns the raw text of the next value, null if it is malformed. */
  value(): Text | null {
    const c = this.peek();
    const from = this.p;
    let ok = false;
    if (c == 0x22) ok = this.text();
    else if (c == 0x7b || c == 0x5b) {
      if (++this.depth > DEEPEST) return null;
      ok = c == 0x7b ? this.object(null, null) : this.list(null);
      this.depth--;
    } else ok = this.word(from);
    return ok ? Text.view(from, <i32>(this.p - from)) : null;
  }

  /** word steps over a number, true, false or null. */
  private word(from: usize): bool {
    while (this.p < this.end) {
      const c = load<u8>(this.p);
      if (!isDigit(c) && (c < 0x61 || c > 0x7a) && c != 0x2d && c != 0x2b && c != 0x2e && c != 0x45) break;
      this.p++;
    }
    const w = Text.view(from, <i32>(this.p - from));
    if (w.equals("true") || w.equals("false") || w.equals("null")) return true;
    return w.size > 0 && (isDigit(w[0]) || (w[0] == 0x2d && w.size > 1 && isDigit(w[1])));
  }

  /** text steps over a quoted text. */
  private text(): bool {
    for (this.p++; this.p < this.end; this.p++) {
      const c = load<u8>(this.p);
      if (c == 0x5c) this.p++;
      else if (c == 0x22) {
        this.p++;
        return true;
      }
    }
    return false;
  }
}

function isDigit(c: u8): bool {
  return c >= 0x30 && c <= 0x39;
}

/** unquote returns what a quoted text means, in memory that stays; a broken escape stands for itself. */
export function unquote(quoted: Text): Text {
  const t = quoted.slice(1, quoted.size - 1).keep(); // what it means is never longer
  let from = t.at, to = t.at;
  const end = t.at + t.size;
  while (from < end) {
    let c = load<u8>(from++);
    if (c != 0x5c || from == end) {
      store<u8>(to++, c);
      continue;
    }
    c = load<u8>(from++);
    if (c == 0x75) {
      const high = hex4(from, end);
      let point: u32 = high < 0 ? 0xfffd : high;
      if (high >= 0) from += 4;
      if (high >= 0xd800 && high < 0xe000) {
        const low = from + 6 <= end && load<u16>(from) == 0x755c ? hex4(from + 2, end) : -1;
        const pair = high < 0xdc00 && low >= 0xdc00 && low < 0xe000;
        point = pair ? ((high - 0xd800) << 10) + (low - 0xdc00) + 0x10000 : 0xfffd;
        if (pair) from += 6;
      }
      to = character(to, point);
    } else store<u8>(to++, escaped(c));
  }
  store<u32>(changetype<usize>(t), <u32>(to - t.at), 4);
  return t;
}

function escaped(c: u8): u8 {
  switch (c) {
    case 0x6e:
      return 0x0a;
    case 0x74:
      return 0x09;
    case 0x72:
      return 0x0d;
    case 0x62:
      return 0x08;
    case 0x66:
      return 0x0c;
  }
  return c;
}

function hex4(p: usize, end: usize): i32 {
  if (p + 4 > end) return -1;
  let n = 0;
  for (let i: usize = 0; i < 4; i++) {
    const c = <i32>load<u8>(p + i);
    const low = c | 0x20;
    if (isDigit(<u8>c)) n = (n << 4) | (c - 0x30);
    else if (low >= 0x61 && low <= 0x66) n = (n << 4) | (low - 0x57);
    else return -1;
  }
  return n;
}

/** character writes one as UTF-8 and returns where it ends. */
function character(to: usize, point: u32): usize {
  let lead: u32 = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  if (lead == 0) {
    store<u8>(to, <u8>point);
    return to + 1;
  }
  store<u8>(to++, <u8>((0xff00 >> (lead + 1)) | (point >> (6 * lead))));
  while (lead--) store<u8>(to++, <u8>(0x80 | ((point >> (6 * lead)) & 0x3f)));
  return to;
}
