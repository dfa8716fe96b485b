// Holds each record under a key of its own, and lets every one go in the next batch in the reverse order.
// sound
// batches: 6
#define TICK return 0;
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	u32 all = records(at), count = 0;
	begin();
	for (u32 i = 0; i < 256; i++, count++) {
		u32 key = 255 - i;
		verdict(0, RELEASE, &key, 4);
	}
	for (u32 i = 0; i < all; i++, count++) verdict(i, HOLD, &i, 4);
	return finish(count);
}
