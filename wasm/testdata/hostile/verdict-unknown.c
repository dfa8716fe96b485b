// Gives verdicts of kinds that are not known.
// fails: guest's output is malformed
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	verdict(0, records(at) % 2 ? 11 : 255, "", 0);
	return finish(1);
}
