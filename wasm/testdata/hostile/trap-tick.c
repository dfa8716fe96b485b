// Traps in runnel_tick.
// sound
// tick fails: guest trapped: unreachable
#define TICK __builtin_trap();
#include "hostile.h"

KEEP_ALL
