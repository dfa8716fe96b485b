// Counts without end.
// fails: not done
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	for (;;) host_metric("a", 1, 1);
}
