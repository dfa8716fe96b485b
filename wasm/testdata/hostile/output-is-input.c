// Returns the batch that it was given as its output.
// fails: guest's output is malformed
#include "hostile.h"

static u64 attack(u32 at, u32 n) {
	return answer(at, n);
}
