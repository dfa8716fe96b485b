// Sets a key to 64 KiB, another each time without end.
// fails: not done
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	u32 turn = 0;
	for (u32 i = 0; i < sizeof input; i++) input[i] = (u8)(i % 251);
	for (;;) host_set("k", 1, input + (turn++ & 1023), 65536);
}
