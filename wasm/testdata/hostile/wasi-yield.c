// Yields without end.
// fails: not done
// endless
#include "hostile.h"

WASI(sched_yield) u32 sched_yield(void);

static u64 attack(u32 at, u32 n) {
	for (;;) sched_yield();
}
