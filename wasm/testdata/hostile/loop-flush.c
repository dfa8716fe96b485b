// Loops without end in runnel_flush, and holds a record of each batch until then.
// sound
// flush fails: not done
// endless
#define FLUSH FOREVER return 0;
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	verdict(0, HOLD, "k", 1);
	return finish(1);
}
