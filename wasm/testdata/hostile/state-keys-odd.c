// Uses keys of no bytes, of 255, of 256 and of a megabyte.
// sound
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	if (host_set("", 0, "v", 1) != -1 || host_set(input, 256, "v", 1) != -1 || host_set(input, sizeof input, "v", 1) != -1) __builtin_trap();
	if (host_set(input, 255, "v", 1) != 0 || host_get(input, 255, output, 0) != 1 || host_get(input, 254, output, 0) != -1) __builtin_trap();
	if (host_next(input, sizeof input, output, 0) != -1 || host_delete(input, 256) != -1 || host_delete(input, 255) != 0) __builtin_trap();
	return 0;
}
