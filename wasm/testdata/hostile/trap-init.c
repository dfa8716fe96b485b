// Traps in runnel_init.
// refused: runnel_init: guest trapped: unreachable
#define INIT __builtin_trap();
#include "hostile.h"

KEEP_ALL
