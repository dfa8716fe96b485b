import { Text, equal, most, raw, write } from "./text";
import { ATTR, RECORD } from "./memory";
import { Merge, New, addAttr, begin, decide, emitNew, field, letGo, mergeHeld, op, place, put, replaceNew, set, DISCARD, DROP, FAIL, HOLD, RELEASE } from "./output";

/** The severities of syslog (RFC 5424 §6.2.1). */
export namespace Severity {
  export const EMERG: u8 = 0;
  export const ALERT: u8 = 1;
  export const CRIT: u8 = 2;
  export const ERR: u8 = 3;
  export const WARNING: u8 = 4;
  export const NOTICE: u8 = 5;
  export const INFO: u8 = 6;
  export const DEBUG: u8 = 7;
}

/** ABSENT marks a severity or facility that the message did not state. */
export const ABSENT: u8 = 255;
/** NO_TIME marks an event time that the message did not state. */
export const NO_TIME: i64 = i64.MIN_VALUE;

/** What happened to a record on its way in (ABI §3.2). */
export namespace Flag {
  export const TRUNCATED: u16 = 1;
  export const MALFORMED: u16 = 2;
  export const HOST_FILLED: u16 = 4;
  export const TIME_SKEWED: u16 = 8;
  export const BEST_EFFORT: u16 = 16;
  export const DUPLICATE: u16 = 32;
  export const DEAD: u16 = 64;
  export const MODULE_FAILED: u16 = 128;
  export const PARTIAL: u16 = 256;
  export const GAP: u16 = 512;
}

/** The kinds of an attribute's value (ABI §3.4). */
export namespace Kind {
  export const NONE: u8 = 0; // there is no such attribute
  export const STRING: u8 = 1;
  export const BYTES: u8 = 2;
  export const INT: u8 = 3;
  export const FLOAT: u8 = 4;
  export const BOOL: u8 = 5;
  export const JSON: u8 = 6;
}

/**
 * Attr is an attribute of a record, read in its place. That of a name which a
 * record has not is no null but an Attr of the kind NONE, whose values are
 * empty, 0 and false.
 */
@unmanaged
@final
export class Attr {
  readonly kind: u8;
  private zero: u8;
  private keySize: u16;
  private valueSize: u32;

  private constructor() {}

  get key(): Text {
    return Text.view(changetype<usize>(this) + ATTR, this.keySize);
  }

  /** The bytes of a STRING, BYTES or JSON, else none. */
  get text(): Text {
    const k = this.kind;
    return Text.view(this.value, k == Kind.STRING || k == Kind.BYTES || k == Kind.JSON ? this.valueSize : 0);
  }

  /** The value of an INT, else 0. */
  get int(): i64 {
    return this.kind == Kind.INT ? load<i64>(this.value) : 0;
  }

  /** The value of a FLOAT or INT, else 0. */
  get float(): f64 {
    if (this.kind == Kind.INT) return <f64>load<i64>(this.value);
    return this.kind == Kind.FLOAT ? load<f64>(this.value) : 0;
  }

  /** The value of a BOOL, else false. */
  get bool(): bool {
    return this.kind == Kind.BOOL && load<u8>(this.value) != 0;
  }

  private get value(): usize {
    return changetype<usize>(this) + ATTR + this.keySize;
  }

  private get next(): usize {
    return this.value + this.valueSize;
  }

  /** @internal size is of all of it. */
  get size(): usize {
    return ATTR + this.keySize + this.valueSize;
  }

  /** of makes a text attribute that stays, for Record.add: for constants, not for each record. */
  static of(key: string, value: string): Attr {
    const p = heap.alloc(ATTR + most(key) + most(value));
    const v = write(p + ATTR, key);
    store<u64>(p, <u64>Kind.STRING | (<u64>(v - p - ATTR) << 16) | (<u64>(write(v, value) - v) << 32));
    return changetype<Attr>(p);
  }
}

const NONE = changetype<Attr>(memory.data(16));
const LANES: u64 = 0x0000ffff0000ffff;

/**
 * Record is a record as it lies in the batch, and the door to the verdict on
 * it. What it reads is the record as it came: a set is not seen by a later
 * read. The Texts it gives are good until the handler of the batch returns.
 */
@unmanaged
@final
export class Record {
  private size: u32;
  /** 0 to 7, or ABSENT. */
  readonly severity: u8;
  /** 0 to 23, or ABSENT. */
  readonly facility: u8;
  /** Flag.TRUNCATED and the others. */
  readonly flags: u16;
  /** Nanoseconds since 1970 UTC, or NO_TIME. */
  readonly time: i64;
  /** The same of when it was received. */
  readonly received: i64;
  private hostSize: u16;
  private appSize: u16;
  private procidSize: u16;
  private msgidSize: u16;
  private streamSize: u16;
  private inputSize: u16;
  private peerSize: u16;
  private agentSize: u16;
  private originSize: u16;
  private attrCount: u16;
  private sdSize: u32;
  private messageSize: u32;
  private attrsSize: u32;

  private constructor() {}

  /** The place of the record at hand in the batch, from 0. */
  get index(): u32 {
    return place(changetype<usize>(this));
  }
  get host(): Text {
    return this.field(0, this.hostSize);
  }
  /** The APP-NAME or the tag. */
  get app(): Text {
    return this.field(this.hostSize, this.appSize);
  }
  get procid(): Text {
    return this.field(<usize>this.hostSize + this.appSize, this.procidSize);
  }
  get msgid(): Text {
    return this.field(this.four - this.msgidSize, this.msgidSize);
  }
  /** Where a route or an earlier module sent it; empty: nowhere. */
  get stream(): Text {
    return this.field(this.four, this.streamSize);
  }
  /** The input that took it. */
  get input(): Text {
    return this.field(this.four + this.streamSize, this.inputSize);
  }
  /** Who sent it. */
  get peer(): Text {
    return this.field(this.four + this.streamSize + this.inputSize, this.peerSize);
  }
  /** The first runnel that had it. */
  get agent(): Text {
    return this.field(this.four + this.streamSize + this.inputSize + this.peerSize, this.agentSize);
  }
  /** The STRUCTURED-DATA as it came, brackets included. */
  get sd(): Text {
    return Text.view(this.messageAt - this.sdSize, this.sdSize);
  }
  /** The text, byte for byte. */
  get message(): Text {
    return Text.view(this.messageAt, this.messageSize);
  }

  /** attr returns the attribute of that name; its kind is NONE if there is none. */
  attr<K>(key: K): Attr {
    const k = raw(key);
    const end = this.end;
    for (let p: usize = end - this.attrsSize; p < end; ) {
      const a = changetype<Attr>(p);
      if (a.keySize == k.size && equal(p + ATTR, k.at, k.size)) return a;
      p = a.next;
    }
    return NONE;
  }

  /**
   * nextAttr returns the attribute behind a, and for null the first; null at the
   * end: `for (let a = r.nextAttr(null); a; a = r.nextAttr(a))`.
   */
  nextAttr(a: Attr | null): Attr | null {
    const p = a ? a.next : this.end - this.attrsSize;
    return p < this.end ? changetype<Attr>(p) : null;
  }

  /** drop drops the record; the host counts the reason. It undoes any change made before. */
  drop<T>(reason: T): void {
    decide(changetype<usize>(this), DROP, reason);
  }
  /** fail hands the record to the module's on_error, with a message. */
  fail<T>(message: T): void {
    decide(changetype<usize>(this), FAIL, message);
  }
  /** hold moves the record, as it came, into the module's state, behind what is held under the key. */
  hold<T>(key: T): void {
    decide(changetype<usize>(this), HOLD, key);
  }
  /** route sends it to a stream of the config. */
  route<T>(stream: T): void {
    if (begin(changetype<usize>(this))) field(25, stream);
  }
  /**
   * set sets an attribute, of the kind that the value has: a Text or string, an
   * integer, a float, true or false.
   */
  set<K, V>(key: K, value: V): void {
    if (begin(changetype<usize>(this))) set(key, value);
  }
  /** add sets an attribute made with Attr.of, or one of any record: faster than set. */
  add(a: Attr): void {
    if (begin(changetype<usize>(this))) addAttr(changetype<usize>(a), a.size);
  }
  /** setJSON sets an attribute to a JSON array, object or null, given as text. */
  setJSON<K, V>(key: K, json: V): void {
    if (begin(changetype<usize>(this))) put(Kind.JSON, key, json);
  }
  /** setBytes sets an attribute to bytes that are no text. */
  setBytes<K>(key: K, value: Text): void {
    if (begin(changetype<usize>(this))) put(Kind.BYTES, key, value);
  }
  /** remove removes an attribute; none of that name is no mistake. */
  remove<K>(key: K): void {
    if (begin(changetype<usize>(this))) put(7, key, "");
  }
  setSeverity(severity: u8): void {
    if (begin(changetype<usize>(this))) store<u8>(op(16, "", 1), severity);
  }
  setFacility(facility: u8): void {
    if (begin(changetype<usize>(this))) store<u8>(op(17, "", 1), facility);
  }
  setTime(nanoseconds: i64): void {
    if (begin(changetype<usize>(this))) store<i64>(op(18, "", 8), nanoseconds);
  }
  setHost<T>(host: T): void {
    if (begin(changetype<usize>(this))) field(19, host);
  }
  setApp<T>(app: T): void {
    if (begin(changetype<usize>(this))) field(20, app);
  }
  setProcid<T>(procid: T): void {
    if (begin(changetype<usize>(this))) field(21, procid);
  }
  setMsgid<T>(msgid: T): void {
    if (begin(changetype<usize>(this))) field(22, msgid);
  }
  setSD<T>(sd: T): void {
    if (begin(changetype<usize>(this))) field(23, sd);
  }
  setMessage<T>(message: T): void {
    if (begin(changetype<usize>(this))) field(24, message);
  }

  /** emit adds a record behind this one: fill in what it returns, at once. */
  emit(): New {
    return emitNew(changetype<usize>(this));
  }
  /** replace puts another record in this one's place. */
  replace(): New {
    return replaceNew(changetype<usize>(this));
  }

  /**
   * release lets go on what is held under the key. It comes before this record
   * where nothing was said of it yet, and behind it otherwise: what is called
   * first comes first. So do those of merge and discard.
   */
  release<T>(key: T): void {
    letGo(changetype<usize>(this), RELEASE, key, "");
  }
  /** discard drops what is held under the key. */
  discard<T, R>(key: T, reason: R): void {
    letGo(changetype<usize>(this), DISCARD, key, reason);
  }
  /**
   * merge lets the first of what is held under the key go on, and drops the
   * rest, counted as "merged". What it returns says, at once, how the first changes.
   */
  merge<T>(key: T): Merge {
    return mergeHeld(changetype<usize>(this), key);
  }

  private get end(): usize {
    return changetype<usize>(this) + this.size;
  }
  private get messageAt(): usize {
    return this.end - this.attrsSize - this.messageSize;
  }
  private get four(): usize {
    return <usize>this.hostSize + this.appSize + this.procidSize + this.msgidSize;
  }
  // @ts-ignore: decorator
  @inline
  private field(from: usize, size: i32): Text {
    return Text.view(changetype<usize>(this) + RECORD + from, size);
  }
}

/** Batch is records one after another: what came, or what is held. */
@unmanaged
@final
export class Batch {
  private at: usize; // of the next record
  /** How many records there are still. */
  readonly left: i32;

  private constructor() {}

  /** over is a Batch over an encoded one (ABI §3.1). */
  static over(batch: usize): Batch {
    const b = Text.view(batch + 16, load<u32>(batch, 8));
    return changetype<Batch>(b);
  }

  /** next returns the next record, or null. */
  next(): Record | null {
    if (this.left == 0) return null;
    const p = this.at;
    store<usize>(changetype<usize>(this), p + load<u32>(p));
    store<u32>(changetype<usize>(this), this.left - 1, 4);
    return changetype<Record>(p);
  }
}
