// Traps in runnel_flush, and holds a record of each batch until then.
// sound
// flush fails: guest trapped: unreachable
#define FLUSH __builtin_trap();
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	verdict(0, HOLD, "k", 1);
	return finish(1);
}
