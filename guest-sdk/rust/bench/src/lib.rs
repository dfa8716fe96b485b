//! The two pieces of work by which the languages are compared
//! (wasm/bench_test.go): `{"do": "keepdrop"}` drops debug records, and
//! `{"do": "route"}` reads three fields, adds an attribute and routes errors.
#![cfg_attr(target_arch = "wasm32", no_std)]

use runnel::{Config, Record, DEBUG, ERR};

runnel::module!(init, process);

fn init(config: &Config) -> bool {
    config.known(&["do"]);
    match config.text("do", "keepdrop") {
        "keepdrop" => false,
        "route" => true,
        _ => {
            config.problem("do is keepdrop or route");
            false
        }
    }
}

fn process(routes: &mut bool, r: &mut Record) {
    if *routes {
        route(r);
    } else if r.severity() == DEBUG {
        r.drop("debug");
    }
}

fn route(r: &mut Record) {
    if r.app().is_empty() || r.host().is_empty() || r.message().is_empty() {
        return;
    }
    r.set("class", "web");
    if r.severity() <= ERR {
        r.route("errors");
    }
}
