// Gives two verdicts on one record.
// fails: two verdicts on record 0
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	verdict(0, DROP, "", 0);
	verdict(0, HOLD, "k", 1);
	return finish(2);
}
