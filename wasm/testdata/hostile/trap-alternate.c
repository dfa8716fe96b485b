// Traps on every other batch that an instance sees.
// some fail: guest trapped: unreachable
// batches: 6
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	static int calls;
	if (++calls % 2 == 0) __builtin_trap();
	return 0;
}
