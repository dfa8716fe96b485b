// Loops without end in runnel_alloc when it is asked for a batch.
// fails: not done
// endless
// blind
#define ALLOC if (n > 4096) { FOREVER }
#include "hostile.h"

KEEP_ALL
