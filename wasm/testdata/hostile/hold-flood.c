// Holds every record for ever: beyond 4096 they fail.
// some fail: records are held already
// batches: 18
// state: 16777216
#define TICK return 0;
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	for (u32 i = 0; i < records(at); i++) verdict(i, HOLD, "k", 1);
	return finish(records(at));
}
