// Looks up keys of a megabyte without end.
// fails: not done
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	for (;;) host_lookup("hosts", 5, input, sizeof input, output, 100);
}
