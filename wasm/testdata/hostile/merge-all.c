// Holds the records of one batch and merges them in the next, and again before each record.
// sound
// batches: 6
#define TICK return 0;
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	u32 all = records(at), count = 0;
	begin();
	for (u32 i = 0; i < all; i++) {
		header(i, MERGE, 4 + 1 + 8 + 16 + 9);
		put32(1);
		put8('k');
		operation(26, "", 0, "0123456789abcdef", 16);
		operation(7, "k", 1, "", 0);
		verdict(i, HOLD, "k", 1);
		count += 2;
	}
	return finish(count);
}
