// Returns 4 GiB from each tick, and a verdict on a record from its flush.
// sound
// tick fails: malformed
// flush fails: malformed
#define TICK return huge();
#define FLUSH return about();
static unsigned long long huge(void), about(void);
#include "hostile.h"

static u64 huge(void) { return answer(0, 0xffffffff); }

static u64 about(void) {
	begin();
	verdict(0, DROP, "", 0);
	return finish(1);
}

KEEP_ALL
