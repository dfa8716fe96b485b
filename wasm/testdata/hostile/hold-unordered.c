// Holds, but is not ordered.
// fails: HOLD in a module that is not ordered
// blind
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	for (u32 i = 0; i < records(at); i++) verdict(i, HOLD, "k", 1);
	return finish(records(at));
}
