// Recurses with 16 KiB of its own stack, in C, whose stack is bounded in its memory.
// fails: out of bounds memory access
#include "hostile.h"

static u32 deep(u32 n) {
	volatile u8 frame[16 << 10];
	frame[n % sizeof frame] = (u8)n;
	return deep(n + 1) + frame[0];
}

static u64 attack(u32 at, u32 n) {
	return deep(0);
}
