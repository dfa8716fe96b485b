// Bench is a guest to measure: it does what most modules do, and no more.

import { Attr, Config, Record, Severity, configure, each } from "../assembly/runnel";
export { runnel_abi_v1, runnel_alloc } from "../assembly/runnel";

const WEB = Attr.of("class", "web");

let route = false;

export function runnel_init(at: usize, size: usize): i32 {
  return configure(at, size, (c: Config) => {
    c.known(["do"]);
    const what = c.text("do", "keepdrop");
    route = what.equals("route");
    if (!route && !what.equals("keepdrop")) c.problem("do is keepdrop or route");
  });
}

export function runnel_process(batch: usize, size: usize): u64 {
  if (!route) {
    return each(batch, (r: Record) => {
      if (r.severity == Severity.DEBUG) r.drop("debug");
    });
  }
  return each(batch, (r: Record) => {
    if (r.app.size > 0 && r.host.size > 0 && r.message.size > 0) r.add(WEB);
    if (r.severity <= Severity.ERR) r.route("errors");
  });
}
