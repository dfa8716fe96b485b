// Returns random bytes behind a header that promises as many verdicts as fit.
// fails: guest's output is malformed
#include "hostile.h"

WASI(random_get) u32 random_get(void *buffer, u32 n);

static u64 attack(u32 at, u32 n) {
	random_get(output, 60000);
	store32(output, 1);
	store32(output + 4, records(at) + 60000 / 12 - 300);
	store32(output + 8, 12);
	store32(output + 12, 0);
	return answer((u32)output, 60000);
}
