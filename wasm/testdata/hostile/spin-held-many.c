// Holds all, and asks without end for all that is held.
// some fail: not done
// batches: 4
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	if (host_held("k", 1, output, 0) >= 0)
		for (;;) host_held("k", 1, output, sizeof output);
	begin();
	for (u32 i = 0; i < records(at); i++) verdict(i, HOLD, "k", 1);
	return finish(records(at));
}
