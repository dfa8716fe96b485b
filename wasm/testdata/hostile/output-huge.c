// Returns all of its memory.
// fails: guest's output is malformed
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	return answer(0, (u32)__builtin_wasm_memory_size(0) << 16);
}
