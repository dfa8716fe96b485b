// Merges what is held by operations that lie, and by keys that are cut off.
// some fail: guest's output is malformed
// batches: 6
#define TICK return 0;
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	u32 lie = records(at) % 4;
	begin();
	header(0, MERGE, 13);
	put32(lie == 0 ? 0xffff : lie == 1 ? 0x10001 : 1);
	put8('k');
	put32(lie == 2 ? 26 : 0x1001a);
	put32(lie == 2 ? 17 : 0);
	verdict(0, HOLD, "k", 1);
	return finish(2);
}
