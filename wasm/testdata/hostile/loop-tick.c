// Loops without end in runnel_tick.
// sound
// tick fails: not done
// endless
#define TICK FOREVER return 0;
#include "hostile.h"

KEEP_ALL
