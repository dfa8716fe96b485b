// Emits records whose lengths lie, another each time.
// fails: guest's output is malformed
#include "hostile.h"

// tiny writes the smallest record there is, 56 bytes.
static void tiny(void) {
	put32(56);
	for (u32 i = 4; i < 56; i++) put8(i == 4 || i == 5 ? 255 : 0);
}

static u64 attack(u32 at, u32 n) {
	static const u8 places[] = {0, 24, 26, 38, 40, 42, 44, 48, 52, 55};
	begin();
	header(0, EMIT, 56);
	u32 from = end;
	tiny();
	output[from + places[records(at) % sizeof places]] = 255;
	return finish(1);
}
