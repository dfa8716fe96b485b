// Sets, changes and deletes thousands of keys in each batch, so that as much as can be has changed.
// sound
// batches: 12
// time: 200ms
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	static u8 value[1000];
	u32 seed = 0;
	host_get("seed", 4, &seed, 4);
	for (u32 i = 0; i < 4000; i++) {
		u32 key = (seed = seed * 1664525 + 1013904223) >> 20;
		if (seed & 0x8000) host_delete(&key, 4);
		else host_set(&key, 4, value, seed % sizeof value);
	}
	host_set("seed", 4, &seed, 4);
	return 0;
}
