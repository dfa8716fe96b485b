// Asks for random bytes without end.
// fails: not done
// endless
#include "hostile.h"

WASI(random_get) u32 random_get(void *buffer, u32 n);

static u64 attack(u32 at, u32 n) {
	for (;;) random_get(output, 65536);
}
