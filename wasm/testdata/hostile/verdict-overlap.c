// Writes verdicts whose sizes make them overlap one another.
// fails: guest's output is malformed
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	for (u32 i = 0; i < 20; i++) {
		header(0, RELEASE, 13);
		store32(output + end - 12, records(at) % 2 ? 11 : 0x7fffffff);
		put8('k');
	}
	return finish(20);
}
