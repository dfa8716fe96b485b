// Looks up what is there without end.
// fails: not done
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	for (;;) host_lookup("hosts", 5, "h1", 2, output, 100);
}
