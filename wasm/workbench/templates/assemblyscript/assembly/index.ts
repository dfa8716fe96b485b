// A module for runnel.

import { Config, Record, Severity, Text, configure, each } from "../sdk/runnel";
export { runnel_abi_v1, runnel_alloc } from "../sdk/runnel";

const TEAM = Text.of("team");

// Set once, by the config. Nothing may change from record to record: what must
// stay belongs in the module's state.
let team = Text.of("nobody");
let dropDebug = false;

export function runnel_init(at: usize, size: usize): i32 {
  return configure(at, size, (c: Config) => {
    c.known(["team", "drop_debug"]);
    team = c.text("team", "nobody");
    dropDebug = c.bool("drop_debug");
  });
}

export function runnel_process(batch: usize, size: usize): u64 {
  return each(batch, (r: Record) => {
    if (dropDebug && r.severity == Severity.DEBUG) {
      r.drop("debug");
      return;
    }
    r.set(TEAM, team);
  });
}
