// Writes from as many places at once as there may be, each as long as its memory, and from one more.
// sound
#include "hostile.h"

WASI(fd_write) u32 fd_write(u32 fd, const void *vectors, u32 n, void *written);

static u64 attack(u32 at, u32 n) {
	u32 *vector = (u32 *)output;
	for (u32 i = 0; i < 65; i++) {
		vector[2 * i] = 0;
		vector[2 * i + 1] = i ? 0xffffffff : 4096;
	}
	if (fd_write(1, vector, 64, output + 1024) != 0 || fd_write(1, vector, 65, output + 1024) == 0 || fd_write(3, vector, 1, output + 1024) == 0) __builtin_trap();
	return 0;
}
