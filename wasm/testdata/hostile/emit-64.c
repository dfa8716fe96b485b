// Emits 64 records for each, the most there may be.
// sound
#include "hostile.h"

// tiny writes the smallest record there is, 56 bytes.
static void tiny(void) {
	put32(56);
	for (u32 i = 4; i < 56; i++) put8(i == 4 || i == 5 ? 255 : 0);
}

static u64 attack(u32 at, u32 n) {
	u32 count = 0;
	begin();
	for (u32 i = 0; i < records(at) && end + 64 * 68 < 4 * n; i++) {
		for (u32 k = 0; k < 64; k++, count++) {
			header(i, EMIT, 56);
			tiny();
		}
	}
	return finish(count);
}
