// Logs the whole of its memory without end.
// fails: not done
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	for (;;) host_log(3, (void *)0, (u32)__builtin_wasm_memory_size(0) << 16);
}
