// Replaces records by ones that are cut off, and by one of 65535 attributes.
// fails: guest's output is malformed
#include "hostile.h"

// tiny writes the smallest record there is, 56 bytes.
static void tiny(void) {
	put32(56);
	for (u32 i = 4; i < 56; i++) put8(i == 4 || i == 5 ? 255 : 0);
}

static u64 attack(u32 at, u32 n) {
	u32 from, cut = records(at) % 2;
	begin();
	header(0, REPLACE, cut ? 55 : 56 + 65535 * 8);
	from = end;
	tiny();
	if (cut) {
		end--;
		return finish(1);
	}
	store32(output + from, 56 + 65535 * 8);
	store16(output + from + 42, 65535);
	store32(output + from + 52, 65535 * 8);
	for (u32 i = 0; i < 65535; i++) {
		put32(1);
		put32(0);
	}
	return finish(1);
}
