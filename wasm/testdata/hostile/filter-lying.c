// Returns filters for more records than there are, of fewer bytes, and of bytes that mean nothing.
// fails: guest's output is malformed
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	u32 all = records(at);
	end = 0;
	put32(2);
	put32(all + (all % 3 == 0));
	for (u32 i = 0; i < all - (all % 3 == 1); i++) put8(all % 3 == 2 ? 2 : 0);
	return answer((u32)output, end);
}
