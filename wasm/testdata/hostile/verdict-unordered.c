// Gives its verdicts from the last record to the first.
// fails: guest's output is malformed
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	verdict(1, DROP, "", 0);
	verdict(0, DROP, "", 0);
	return finish(2);
}
