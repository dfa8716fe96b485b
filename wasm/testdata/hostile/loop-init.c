// Loops without end in runnel_init.
// refused: runnel_init: not done
// endless
#define INIT FOREVER
#include "hostile.h"

KEEP_ALL
