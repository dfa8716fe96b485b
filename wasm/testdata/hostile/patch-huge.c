// Sets values as large as an output can be.
// sound
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	u32 room = 4 * n + (1 << 20);
	if (room > sizeof output) room = sizeof output;
	begin();
	header(0, PATCH, 8 + room - 28);
	put16(24);
	put16(0);
	put32(room - 28);
	end += room - 28;
	return finish(1);
}
