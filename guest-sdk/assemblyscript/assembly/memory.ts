// Memory that the garbage collector does not see: what is good for one call,
// and the buffers that are kept. Nobody but the SDK takes any of it.

/** The fixed header of a record (ABI §3.2), and where its fields are. */
export const RECORD: usize = 56;
/** The fixed part of an attribute and of an operation (ABI §3.4, §4.3). */
export const ATTR: usize = 8;

const CHUNK: usize = 16 << 10;
const KEPT: usize = 1 << 20;

let chunk: usize = 0; // the newest; its first 8 bytes: the one before it, its size
let used: usize = 0; // where the next bytes go
let limit: usize = 0; // and end

/** take returns n bytes that are good until the call of the host returns. */
// @ts-ignore: decorator
@inline
export function take(n: usize): usize {
  const p = used;
  const end = p + ((n + 7) & ~7);
  if (end > limit) return more(n);
  used = end;
  return p;
}

/** giveBack shortens what take gave last to n bytes. */
export function giveBack(p: usize, n: usize): void {
  used = p + ((n + 7) & ~7);
}

function more(n: usize): usize {
  const size = max<usize>(chunk ? 2 * <usize>load<u32>(chunk, 4) : CHUNK, ((n + 7) & ~7) + 8);
  const fresh = heap.alloc(size);
  store<u32>(fresh, chunk);
  store<u32>(fresh, size, 4);
  chunk = fresh;
  used = fresh + 8 + ((n + 7) & ~7);
  limit = fresh + size;
  return fresh + 8;
}

/**
 * forget makes all that was taken free again, and collects garbage: at the
 * beginning of a call nothing of the guest's is on the stack.
 */
export function forget(): void {
  if (chunk) {
    // The newest chunk is as large as all before it: it alone is kept.
    for (let c: usize = load<u32>(chunk); c; ) {
      const before: usize = load<u32>(c);
      heap.free(c);
      c = before;
    }
    store<u32>(chunk, 0);
    used = chunk + 8;
    if (load<u32>(chunk, 4) > <u32>KEPT) {
      heap.free(chunk);
      chunk = used = limit = 0;
    }
  }
  __collect();
}

/**
 * copy copies n bytes. Short ones, which most keys and values are, go by loads
 * and stores that may overlap: memory.copy is a call in what the host makes of
 * it, and a loop is counted at every turn.
 */
export function copy(to: usize, from: usize, n: usize): void {
  if (n >= 8) {
    if (n > 32) return memory.copy(to, from, n);
    const last = load<u64>(from + n - 8);
    store<u64>(to, load<u64>(from));
    if (n > 16) {
      store<u64>(to, load<u64>(from, 8), 8);
      store<u64>(to + n - 16, load<u64>(from + n - 16));
    }
    store<u64>(to + n - 8, last);
  } else if (n >= 4) {
    const last = load<u32>(from + n - 4);
    store<u32>(to, load<u32>(from));
    store<u32>(to + n - 4, last);
  } else if (n > 0) {
    const last = load<u8>(from + n - 1);
    store<u8>(to, load<u8>(from));
    if (n == 3) store<u8>(to, load<u8>(from, 1), 1);
    store<u8>(to + n - 1, last);
  }
}
