// Reads 64 KiB of state without end.
// fails: not done
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	host_set("k", 1, input, 65536);
	for (;;) host_get("k", 1, output, 65536);
}
