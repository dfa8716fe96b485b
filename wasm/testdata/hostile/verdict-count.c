// Promises four billion verdicts.
// fails: guest's output is malformed
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	verdict(0, DROP, "", 0);
	return finish(0xffffffff);
}
