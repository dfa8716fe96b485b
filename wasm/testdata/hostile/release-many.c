// Releases, merges and discards keys without number under which nothing is held.
// sound
#define TICK return 0;
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	u32 count = 0, room = 4 * n + (1 << 20);
	if (room > sizeof output) room = sizeof output;
	begin();
	for (; end + 64 < room; count++) {
		header(0, RELEASE + count % 3, count % 3 ? 8 : 4);
		if (count % 3) put32(4);
		put32(count);
	}
	return finish(count);
}
