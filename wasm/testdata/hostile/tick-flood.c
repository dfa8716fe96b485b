// Emits 4096 records in each tick, the most there may be.
// sound
#define TICK return flood(4096);
#define FLUSH return flood(4096);
static unsigned long long flood(unsigned count);
#include "hostile.h"

// tiny writes the smallest record there is, 56 bytes.
static void tiny(void) {
	put32(56);
	for (u32 i = 4; i < 56; i++) put8(i == 4 || i == 5 ? 255 : 0);
}

static u64 flood(u32 count) {
	begin();
	for (u32 i = 0; i < count; i++) {
		header((u32)NOBODY, EMIT, 56);
		tiny();
	}
	return finish(count);
}

KEEP_ALL
