// Changes each record by 256 operations, the most there may be, that move a large attribute about.
// sound
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	static u8 large[16 << 10];
	u32 count = 0;
	begin();
	for (u32 i = 0; i < records(at) && end + sizeof large + 256 * 10 + 64 < 4 * n + (1 << 20) && end + sizeof large + 4096 < sizeof output; i++, count++) {
		u32 from = end;
		header(i, PATCH, 0);
		for (u8 k = 0; k < 127; k++) operation(1, &k, 1, "", 0);
		operation(1, "large", 5, large, sizeof large);
		for (u8 k = 0; k < 127; k++) operation(1, &k, 1, "", 0);
		operation(7, "large", 5, "", 0);
		store32(output + from, end - from);
	}
	return finish(count);
}
