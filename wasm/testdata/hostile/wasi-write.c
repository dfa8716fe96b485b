// Writes empty lines to stdout, 4 KiB of them at once, without end.
// fails: not done
// endless
#include "hostile.h"

WASI(fd_write) u32 fd_write(u32 fd, const void *vectors, u32 n, void *written);

static u64 attack(u32 at, u32 n) {
	u32 *vector = (u32 *)output;
	__builtin_memset(input, '\n', 8192);
	vector[0] = (u32)input;
	vector[1] = 8192;
	for (;;) fd_write(1, vector, 1, output + 64);
}
