// Traps on every batch of more than one record: the search for poison is bounded, and fails what it has not found.
// some fail: guest trapped: unreachable
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	if (records(at) > 1) __builtin_trap();
	return 0;
}
