// Changes much of its state, and then traps.
// fails: guest trapped: unreachable
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	for (u32 i = 0; i < 2000; i++) host_set(&i, 4, input, 1000);
	for (u32 i = 0; i < 2000; i += 2) host_delete(&i, 4);
	__builtin_trap();
}
