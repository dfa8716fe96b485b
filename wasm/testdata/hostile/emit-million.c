// Emits a million records in one output.
// fails: guest's output is malformed
#include "hostile.h"

// tiny writes the smallest record there is, 56 bytes.
static void tiny(void) {
	put32(56);
	for (u32 i = 4; i < 56; i++) put8(i == 4 || i == 5 ? 255 : 0);
}

static u64 attack(u32 at, u32 n) {
	begin();
	while (end + 68 < sizeof output) {
		header(0, EMIT, 56);
		tiny();
	}
	return finish(1000000);
}
