// Asks what stdout is without end.
// fails: not done
// endless
#include "hostile.h"

WASI(fd_fdstat_get) u32 fd_fdstat_get(u32 fd, void *stat);

static u64 attack(u32 at, u32 n) {
	for (;;) fd_fdstat_get(1, output);
}
