// Searches the whole of its memory without end.
// fails: not done
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	for (;;) host_scan((void *)0, (u32)__builtin_wasm_memory_size(0) << 16, "no such word", 12);
}
