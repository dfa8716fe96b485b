// Sleeps for centuries, again and again, and in waits that overflow.
// sound
#include "hostile.h"

WASI(poll_oneoff) u32 poll_oneoff(void *subs, void *events, u32 n, void *done);
WASI(clock_time_get) u32 clock_time_get(u32 id, u64 precision, void *time);

static u64 attack(u32 at, u32 n) {
	u64 *sub = (u64 *)input, now = 0;
	__builtin_memset(input, 0, 48 * 64);
	for (u32 i = 0; i < 64; i++) {
		sub[6 * i + 2] = 1;
		sub[6 * i + 3] = i % 2 ? ~0ull : 0x7fffffffffffffff;
		sub[6 * i + 5] = i % 3 == 0;
	}
	for (u32 i = 0; i < 50; i++) poll_oneoff(sub, output, 64, output + 8192);
	poll_oneoff(sub, output, 0xffffffff, output + 8192);
	clock_time_get(1, 0, &now);
	return 0;
}
