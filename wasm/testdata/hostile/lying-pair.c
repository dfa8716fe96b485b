// Returns an address and a length that lie, another pair for each size of batch.
// fails: guest's output is malformed
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	static const u32 pairs[][2] = {
		{0, 0xffffffff}, {0xffffffff, 0xffffffff}, {0xffffffff, 1}, {0xfffffff0, 64}, {0x80000000, 0x7fffffff},
		{0x7fffffff, 4096}, {0, 1}, {0, 7}, {0xffff0000, 0x10000}, {1, 0x80000000}, {0xfffffff8, 8},
	};
	const u32 *pair = pairs[records(at) % (sizeof pairs / sizeof pairs[0])];
	return answer(pair[0], pair[1]);
}
