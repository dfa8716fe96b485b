// Traps in runnel_alloc when it is asked for a batch.
// fails: guest trapped: unreachable
// blind
#define ALLOC if (n > 4096) { __builtin_trap(); }
#include "hostile.h"

KEEP_ALL
