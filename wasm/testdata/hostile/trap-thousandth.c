// Traps on the thousandth batch that an instance sees, and on no record of it that a fresh one is given.
// sound
// batches: 1010
// records: 8
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	static int calls;
	if (++calls == 1000) __builtin_trap();
	return 0;
}
