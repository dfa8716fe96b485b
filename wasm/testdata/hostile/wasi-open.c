// Opens files without end.
// fails: not done
// endless
#include "hostile.h"

WASI(path_open) u32 path_open(u32 fd, u32 flags, const char *path, u32 n, u32 o, u64 rights, u64 inherit, u32 f, void *fd_out);

static u64 attack(u32 at, u32 n) {
	for (;;) path_open(3, 0, "/etc/passwd", 11, 0, ~0ull, ~0ull, 0, output);
}
