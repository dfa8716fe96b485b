// Sets a key and asks for the next one, in turn and without end.
// fails: not done
// endless
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	u64 key = 0;
	for (;;) {
		key = key * 6364136223846793005u + 1442695040888963407u;
		host_set(&key, 8, "", 0);
		host_next(&key, 8, output, 255);
		host_next("", 0, output, 255);
	}
}
