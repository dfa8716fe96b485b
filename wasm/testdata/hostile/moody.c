// Drops and keeps as a counter in its memory says, and so answers otherwise each time.
// sound
// batches: 8
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	static u32 mood;
	u32 count = 0;
	begin();
	for (u32 i = 0; i < records(at); i++) {
		if ((mood = mood * 1664525 + 1013904223) & 0x10000) continue;
		verdict(i, DROP, "mood", 4);
		count++;
	}
	return finish(count);
}
