// Sends each record to a stream of its own that is not there.
// fails: which is no stream of the config
// blind
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	static u32 streams;
	begin();
	for (u32 i = 0; i < records(at); i++) {
		header(i, ROUTE, 255);
		for (u32 k = 0; k < 251; k++) put8("/\n\"{}. \0"[(streams + k) % 8]);
		put32(streams++);
	}
	return finish(records(at));
}
