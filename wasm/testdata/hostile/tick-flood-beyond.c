// Emits 4097 records in each tick, one too many.
// sound
// tick fails: 4097 verdicts without a batch
// flush fails: 4097 verdicts without a batch
#define TICK return flood(4097);
#define FLUSH return flood(4097);
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
