// Asks for what is held without end.
// fails: not done
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	for (;;) host_held("k", 1, output, sizeof output);
}
