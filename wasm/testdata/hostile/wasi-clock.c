// Reads the clock without end.
// fails: not done
// endless
#include "hostile.h"

WASI(clock_time_get) u32 clock_time_get(u32 id, u64 precision, void *time);

static u64 attack(u32 at, u32 n) {
	for (;;) clock_time_get(1, 0, output);
}
