// Sets new keys until the state is full, 10 000 a batch.
// sound
// batches: 12
// state: 16777216
// time: 200ms
// resident: 64
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	u32 next = 0;
	host_get("next", 4, &next, 4);
	for (u32 end = next + 10000; next < end; next++) {
		int refused = host_set(&next, 4, "", 0);
		if (refused && next < 50000) __builtin_trap();
	}
	host_set("next", 4, &next, 4);
	return 0;
}
