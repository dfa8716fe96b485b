// Overwrites the batch, and puts its output into it: the host has a copy of its own.
// sound
// keeps
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	for (u32 i = 0; i < n; i++) ((u8 *)at)[i] = (u8)(i * 31);
	__builtin_memset((void *)at, 0, 64);
	((u8 *)at)[0] = 1;
	return answer(at, 8);
}
