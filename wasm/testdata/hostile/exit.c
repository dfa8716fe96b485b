// Exits by proc_exit.
// fails: guest exited with status 3
#include "hostile.h"

WASI(proc_exit) void leave(u32 status);

static u64 attack(u32 at, u32 n) {
	leave(3);
	return 0;
}
