// Traps in runnel_process.
// fails: guest trapped: unreachable
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	__builtin_trap();
}
