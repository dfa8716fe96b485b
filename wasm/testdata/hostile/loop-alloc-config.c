// Loops without end in runnel_alloc when it is asked for the config.
// refused: runnel_alloc: not done
// endless
#define ALLOC FOREVER
#include "hostile.h"

KEEP_ALL
