// Promises to release a million times.
// fails: guest's output is malformed
#define TICK return 0;
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	for (u32 i = 0; i < 1000; i++) verdict(0, RELEASE, "k", 1);
	return finish(1000000);
}
