// Gives verdicts on records that are not there.
// fails: guest's output is malformed
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	verdict(records(at) % 2 ? records(at) : (u32)NOBODY, DROP, "", 0);
	return finish(1);
}
