// Sets values of 64 KiB until there is no more room, and a larger one.
// sound
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	u32 refused = 0;
	if (host_set("k", 1, input, 65537) != -1) __builtin_trap();
	for (u32 i = 0; i < 100; i++) refused += host_set(&i, 4, input, 65536) != 0;
	if (refused < 30) __builtin_trap();
	return 0;
}
