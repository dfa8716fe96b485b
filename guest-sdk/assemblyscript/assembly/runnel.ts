// The SDK's door: import everything from here.

export { each, filter, keepAll, later, configure, Later, runnel_abi_v1, runnel_alloc } from "./call";
export { Config } from "./config";
export { log, lookup, metric, now } from "./host";
export { Merge, New } from "./output";
export { Attr, Batch, Record, Flag, Kind, Severity, ABSENT, NO_TIME } from "./record";
export { held, state } from "./state";
export { Text } from "./text";
