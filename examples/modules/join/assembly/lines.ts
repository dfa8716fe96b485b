// What a line says of itself: that it begins a trace, or goes on with one.

import { Text } from "../../../../guest-sdk/assemblyscript/assembly/runnel";

/** What is being joined. */
export namespace Kind {
  export const NONE: u8 = 0;
  export const TRACE: u8 = 1; // Java, Node, .NET, Ruby, PHP, or any indented lines
  export const PYTHON: u8 = 2; // up to the exception's own line, which is not indented
  export const ENDED: u8 = 3; // a Python trace behind that line
  export const GO: u8 = 4;
  export const PIECES: u8 = 5;
}

// What a byte may be the first of, or a part of.
const HEAD: u8 = 1; // the first line of a trace
const REST: u8 = 2; // a line that goes on with the one before it
const NAME: u8 = 4; // in a class's name
const bytes = memory.data(256);

for (let c: usize = 0; c < 26; c++) {
  store<u8>(bytes + 0x41 + c, HEAD | NAME);
  store<u8>(bytes + 0x61 + c, HEAD | NAME);
  if (c < 10) store<u8>(bytes + 0x30 + c, NAME);
}
for (let i = 0, more = " \t#.-CS_$"; i < more.length; i++) {
  const p = bytes + more.charCodeAt(i);
  store<u8>(p, load<u8>(p) | (i < 7 ? REST : HEAD | NAME));
}
store<u8>(bytes + 0x2e, REST | NAME);

/** What the first look at a line finds, beside a kind. */
export const CONTINUES: u8 = 8;

/** look returns the kind of trace that a line is the first of, and whether it goes on with the one before it, whatever that is. */
// @ts-ignore: decorator
@inline
export function look(at: usize, size: i32): u8 {
  const c = size ? load<u8>(bytes + load<u8>(at)) : 0;
  if (c & REST || (c & HEAD && size > 4 && word(at))) return lookAgain(c, Text.view(at, size));
  return Kind.NONE;
}

/** word reports whether the first five bytes may be of a name or of one of the words that a trace begins with. */
// @ts-ignore: decorator
@inline
function word(at: usize): bool {
  const last = load<u8>(at, 4);
  const c = load<u8>(bytes + load<u8>(at, 1)) & load<u8>(bytes + load<u8>(at, 2)) & load<u8>(bytes + load<u8>(at, 3));
  return (c & (load<u8>(bytes + last) | (last == 0x20 ? NAME : 0)) & NAME) != 0;
}

function lookAgain(c: u8, line: Text): u8 {
  const kind = c & HEAD ? begins(line) : Kind.NONE;
  return c & REST && (indented(line) || ofTrace(line)) ? kind | CONTINUES : kind;
}

function indented(line: Text): bool {
  if (line.size == 0) return false;
  const c = line[0];
  if (c == 0x20 || c == 0x09) return true;
  if (c == 0x43) return line.startsWith("Caused by: ");
  return c == 0x23 && line.startsWith("#011"); // a tab that rsyslog has escaped
}

/** begins returns the kind of trace that a line is the first of; NONE if it is like any other. */
function begins(line: Text): u8 {
  if (line.size < 5) return Kind.NONE;
  switch (line[0]) {
    case 0x54: // T
      if (line.startsWith("Traceback (most recent call last):")) return Kind.PYTHON;
      break;
    case 0x70: // p
      if (line.startsWith("panic: ")) return Kind.GO;
      break;
    case 0x66: // f
      if (line.startsWith("fatal error: ")) return Kind.GO;
      break;
    case 0x67: // g
      if (line.startsWith("goroutine ") && line.endsWith("]:")) return Kind.GO;
      break;
    case 0x73: // s
      if (line.startsWith("source_traceback: ")) return Kind.PYTHON;
      break;
    case 0x53: // S
      if (line.equals("Stack trace:")) return Kind.TRACE;
      break;
    case 0x45: // E
      if (line.startsWith("Exception in thread ")) return Kind.TRACE;
      break;
    case 0x55: // U
      if (line.startsWith("Unhandled exception") || line.startsWith("Uncaught ")) return Kind.TRACE;
      break;
  }
  return exception(line) ? Kind.TRACE : Kind.NONE;
}

/** exception reports whether a line is a class's name, such as exceptions have, alone or with a message behind a colon. */
function exception(line: Text): bool {
  const i = name(line);
  if (i < 5 || (i < line.size && line[i] != 0x3a)) return false;
  const end = line.at + i;
  switch (load<u8>(end - 1)) {
    case 0x6e: // n
      return ends(line, i, "Exception");
    case 0x72: // r
      return ends(line, i, "Error");
    case 0x65: // e
      return ends(line, i, "Throwable") || (i == 5 && line.startsWith("Trace"));
  }
  return false;
}

function ends(line: Text, size: i32, word: string): bool {
  return line.slice(0, size).endsWith(word);
}

/** name returns how many bytes at the beginning may be a class's name. */
function name(line: Text): i32 {
  const end = line.at + min(line.size, 200);
  let p = line.at;
  while (p < end && load<u8>(bytes + load<u8>(p)) & NAME) p++;
  return <i32>(p - line.at);
}

/**
 * goesOn returns what a trace of that kind is when this line is a part of it,
 * NONE if it is not.
 */
export function goesOn(kind: u8, line: Text): u8 {
  if (line.size == 0) return kind == Kind.TRACE ? Kind.NONE : kind;
  if (kind == Kind.ENDED) {
    const chained = line.startsWith("During handling of the above exception") || line.startsWith("The above exception was the direct cause");
    return chained ? Kind.PYTHON : Kind.NONE;
  }
  if (indented(line)) return kind;
  if (kind == Kind.PYTHON) {
    if (line.startsWith("Traceback (most recent call last):")) return kind;
    return ending(line) ? Kind.ENDED : Kind.NONE;
  }
  if (kind == Kind.GO) return ofGo(line) ? kind : Kind.NONE;
  return ofTrace(line) ? kind : Kind.NONE;
}

/** ending reports whether a line is that of a Python exception: a dotted name, alone or with a colon behind it. */
function ending(line: Text): bool {
  const i = name(line);
  return i > 0 && (i == line.size || line[i] == 0x3a);
}

function ofTrace(line: Text): bool {
  const c = line[0];
  if (c == 0x2e) return line.startsWith("... "); // "... 12 more"
  if (c == 0x2d) return line.startsWith("--- End of "); // .NET
  if (c == 0x23) return line.size > 1 && line[1] - 0x30 < 10; // PHP's "#0 {main}"
  return c == 0x53 && line.equals("Stack trace:");
}

function ofGo(line: Text): bool {
  const c = line[0];
  if (c == 0x67 && line.startsWith("goroutine ")) return true;
  if (c == 0x63 && line.startsWith("created by ")) return true;
  if (c == 0x5b && line.startsWith("[signal ")) return true;
  if (c == 0x70 && line.startsWith("panic: ")) return true;
  if (c == 0x65 && line.startsWith("exit status ")) return true;
  if (line.startsWith("...additional frames elided")) return true;
  // main.(*Server).run(0xc000010000, {0x1, 0x2}): no blank before the bracket
  const open = line.indexOfByte(0x28);
  if (open <= 0 || line[line.size - 1] != 0x29) return false;
  const blank = line.indexOfByte(0x20);
  return (blank < 0 || blank > open) && line.indexOfByte(0x2e) >= 0;
}
