// Traps in runnel_alloc when it is asked for the config.
// refused: runnel_alloc: guest trapped: unreachable
#define ALLOC __builtin_trap();
#include "hostile.h"

KEEP_ALL
