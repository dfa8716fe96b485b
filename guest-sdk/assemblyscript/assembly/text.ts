// Text is how a guest sees bytes: where they are, and how many. Nothing is
// copied or decoded until toString is asked for it.

import { take, copy } from "./memory";

// @ts-ignore: decorator
@external("runnel", "scan")
declare function hostScan(text: usize, size: usize, word: usize, wordSize: usize): i32;

/**
 * Text is a view of bytes, which SHOULD be UTF-8 but need not be. Sizes and
 * places are counted in bytes. A view of a record or of the state is good until
 * the handler of the batch returns: keep() copies it.
 *
 * Where a method takes a T, that is a Text or a string; a string stands for its
 * UTF-8 bytes.
 */
@unmanaged
@final
export class Text {
  /** The address of the first byte. */
  readonly at: usize;
  /** How many bytes there are. */
  readonly size: i32;

  private constructor() {}

  /** of makes a Text that stays: for constants, not for each record. */
  static of(s: string): Text {
    const n = String.UTF8.byteLength(s);
    const p = heap.alloc(8 + n);
    String.UTF8.encodeUnsafe(changetype<usize>(s), s.length, p + 8);
    return fill(p, p + 8, n);
  }

  /** view is a Text over bytes that are there already, good until the handler returns. */
  // @ts-ignore: decorator
  @inline
  static view(at: usize, size: i32): Text {
    return fill(take(8), at, size);
  }

  /** keep copies the bytes to memory of their own, which stays. */
  keep(): Text {
    const p = heap.alloc(8 + this.size);
    memory.copy(p + 8, this.at, this.size);
    return fill(p, p + 8, this.size);
  }

  /** free gives back what keep took. */
  free(): void {
    heap.free(changetype<usize>(this));
  }

  /** toString decodes the bytes. It allocates: twice their size. */
  toString(): string {
    return decode(this.at, this.size);
  }

  // @ts-ignore: decorator
  @operator("[]")
  private byte(i: i32): u8 {
    if (<u32>i >= <u32>this.size) throw new RangeError("index beyond the text");
    return load<u8>(this.at + i);
  }

  // @ts-ignore: decorator
  @operator("==")
  private static same(a: Text | null, b: Text | null): bool {
    if (changetype<usize>(a) == 0 || changetype<usize>(b) == 0) return changetype<usize>(a) == changetype<usize>(b);
    return a.size == b.size && equal(a.at, b.at, a.size);
  }

  // @ts-ignore: decorator
  @operator("!=")
  private static differ(a: Text | null, b: Text | null): bool {
    return !Text.same(a, b);
  }

  equals<T>(other: T): bool {
    if (isString<T>()) {
      const s = changetype<string>(other);
      const end = matchString(this.at, this.size, s);
      return end == this.size;
    }
    const t = raw(other);
    return this.size == t.size && equal(this.at, t.at, t.size);
  }

  /** compare returns a number below, at or above 0: the order of bytes. */
  compare(other: Text): i32 {
    const c = memory.compare(this.at, other.at, min(this.size, other.size));
    return c ? c : this.size - other.size;
  }

  startsWith<T>(start: T): bool {
    if (isString<T>()) return matchString(this.at, this.size, changetype<string>(start)) >= 0;
    const t = raw(start);
    return this.size >= t.size && equal(this.at, t.at, t.size);
  }

  endsWith<T>(end: T): bool {
    const t = raw(end);
    return this.size >= t.size && equal(this.at + this.size - t.size, t.at, t.size);
  }

  contains<T>(word: T): bool {
    return this.indexOf(word) >= 0;
  }

  /** indexOf returns where the word first is at or behind from, or −1. */
  indexOf<T>(word: T, from: i32 = 0): i32 {
    const t = raw(word);
    from = max(from, 0);
    if (t.size > this.size - from) return -1;
    const at = find(this.at + from, this.size - from, t.at, t.size);
    return at < 0 ? at : at + from;
  }

  /** indexOfByte returns where the byte first is at or behind from, or −1. */
  indexOfByte(c: u8, from: i32 = 0): i32 {
    for (let i = max(from, 0); i < this.size; i++) {
      if (load<u8>(this.at + i) == c) return i;
    }
    return -1;
  }

  /** slice is a view of the bytes from and up to, but not with, to. */
  slice(from: i32, to: i32 = i32.MAX_VALUE): Text {
    to = min(to, this.size);
    from = min(max(from, 0), max(to, 0));
    return Text.view(this.at + from, to - from);
  }

  /** trim is a view without blanks, tabs and line ends at either end. */
  trim(): Text {
    let from = 0, to = this.size;
    while (from < to && load<u8>(this.at + from) <= 0x20) from++;
    while (to > from && load<u8>(this.at + to - 1) <= 0x20) to--;
    return Text.view(this.at + from, to - from);
  }

  /** toInt reads a decimal number with nothing around it that an i64 holds, or returns fallback. */
  toInt(fallback: i64 = 0): i64 {
    const negative = this.size > 1 && load<u8>(this.at) == 0x2d;
    let i = negative ? 1 : 0;
    if (this.size == i) return fallback;
    let n: u64 = 0;
    for (; i < this.size; i++) {
      const c = load<u8>(this.at + i) - 0x30;
      if (c > 9 || n > <u64>i64.MAX_VALUE / 10) return fallback;
      n = n * 10 + c;
    }
    if (n > <u64>i64.MAX_VALUE + u64(negative)) return fallback;
    return negative ? -(<i64>n) : <i64>n;
  }
}

// @ts-ignore: decorator
@inline
function fill(p: usize, at: usize, size: i32): Text {
  store<u64>(p, <u64>at | (<u64>size << 32));
  return changetype<Text>(p);
}

/** raw is a Text or a string as bytes; those of a string are good until the handler returns. */
// @ts-ignore: decorator
@inline
export function raw<T>(s: T): Text {
  if (isString<T>()) {
    const t = changetype<string>(s);
    const p = take(8 + 3 * t.length);
    return fill(p, p + 8, <i32>(encode(p + 8, t) - p - 8));
  }
  if (isNullable<T>()) return raw<NonNullable<T>>(s!);
  if (isReference<T>()) {
    if (s instanceof Text) return changetype<Text>(s);
  }
  ERROR("a Text or a string is wanted");
  return changetype<Text>(0);
}

/** most is how many bytes s has at most. */
// @ts-ignore: decorator
@inline
export function most<T>(s: T): usize {
  if (isString<T>()) return 3 * changetype<string>(s).length;
  return raw(s).size;
}

/** write writes s and returns where it ends. */
// @ts-ignore: decorator
@inline
export function write<T>(to: usize, s: T): usize {
  if (isString<T>()) return encode(to, changetype<string>(s));
  const t = raw(s);
  copy(to, t.at, t.size);
  return to + t.size;
}

/**
 * encode writes a string as UTF-8 and returns where it ends. Four ASCII
 * characters go in one step; a lone surrogate becomes U+FFFD.
 */
function encode(to: usize, s: string): usize {
  let p = changetype<usize>(s);
  const end = p + (<usize>s.length << 1);
  while (p + 8 <= end) {
    const four = load<u64>(p);
    if (four & 0xff80ff80ff80ff80) return encodeRest(to, p, end);
    const two = (four | (four >> 8)) & 0x0000ffff0000ffff;
    store<u32>(to, <u32>(two | (two >> 16)));
    p += 8;
    to += 4;
  }
  for (; p < end; p += 2) {
    const c = load<u16>(p);
    if (c >= 0x80) return encodeRest(to, p, end);
    store<u8>(to++, <u8>c);
  }
  return to;
}

function encodeRest(to: usize, p: usize, end: usize): usize {
  return to + String.UTF8.encodeUnsafe(p, <i32>((end - p) >> 1), to, false, String.UTF8.ErrorMode.REPLACE);
}

/** matchString returns how many bytes s has if they are the first of those at p, −1 if not. */
function matchString(p: usize, size: i32, s: string): i32 {
  const n = s.length;
  if (n > size) return -1; // a string is never longer than its UTF-8
  const from = changetype<usize>(s);
  for (let i = 0; i < n; i++) {
    const c = load<u16>(from + (<usize>i << 1));
    if (c >= 0x80) {
      const t = raw(s);
      return t.size <= size && equal(p, t.at, t.size) ? t.size : -1;
    }
    if (c != load<u8>(p + i)) return -1;
  }
  return n;
}

/** equal compares n bytes, eight at a time. */
export function equal(a: usize, b: usize, n: usize): bool {
  const end = a + n;
  while (a + 8 <= end) {
    if (load<u64>(a) != load<u64>(b)) return false;
    a += 8;
    b += 8;
  }
  for (; a < end; a++, b++) {
    if (load<u8>(a) != load<u8>(b)) return false;
  }
  return true;
}

/** find is a search by itself on short texts, and the host's on long ones. */
function find(p: usize, size: i32, word: usize, n: i32): i32 {
  if (n == 0) return 0;
  if (size > 64) return hostScan(p, size, word, n);
  const first = load<u8>(word);
  for (let i = 0; i <= size - n; i++) {
    if (load<u8>(p + i) == first && equal(p + i, word, n)) return i;
  }
  return -1;
}

/** decode makes a string of bytes; each that is not UTF-8 becomes U+FFFD. */
function decode(p: usize, size: i32): string {
  const s = changetype<string>(__new(<usize>size << 1, idof<string>()));
  let to = changetype<usize>(s);
  const end = p + size;
  while (p < end) {
    const c = <u32>load<u8>(p);
    if (c < 0x80) {
      store<u16>(to, <u16>c);
      to += 2;
      p++;
      continue;
    }
    const n = sequence(p, end, c);
    let point: u32 = 0xfffd;
    if (n > 1) {
      point = c & (0x7f >> n);
      for (let i: u32 = 1; i < n; i++) point = (point << 6) | (load<u8>(p + i) & 0x3f);
    }
    if (point >= 0x10000) {
      point -= 0x10000;
      store<u16>(to, <u16>(0xd800 | (point >> 10)));
      to += 2;
      point = 0xdc00 | (point & 0x3ff);
    }
    store<u16>(to, <u16>point);
    to += 2;
    p += n;
  }
  return changetype<string>(__renew(changetype<usize>(s), to - changetype<usize>(s)));
}

/** sequence returns how many bytes the character at p has, 1 if it is broken (RFC 3629 §4). */
function sequence(p: usize, end: usize, c: u32): u32 {
  let n: u32 = 0, low: u32 = 0x80, high: u32 = 0xbf;
  if (c >= 0xc2 && c < 0xe0) n = 2;
  else if (c >= 0xe0 && c < 0xf0) n = 3;
  else if (c >= 0xf0 && c < 0xf5) n = 4;
  else return 1;
  if (c == 0xe0) low = 0xa0;
  else if (c == 0xed) high = 0x9f;
  else if (c == 0xf0) low = 0x90;
  else if (c == 0xf4) high = 0x8f;
  if (p + n > end) return 1;
  const second = <u32>load<u8>(p + 1);
  if (second < low || second > high) return 1;
  for (let i: u32 = 2; i < n; i++) {
    if ((load<u8>(p + i) & 0xc0) != 0x80) return 1;
  }
  return n;
}
