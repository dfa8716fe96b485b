// Changes a record by 257 operations.
// fails: operation 256 of the PATCH of record 0
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	begin();
	header(0, PATCH, 257 * 9);
	for (u32 k = 0; k < 257; k++) operation(7, "k", 1, "", 0);
	return finish(1);
}
