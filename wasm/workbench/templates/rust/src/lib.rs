//! A module for runnel.
#![cfg_attr(target_arch = "wasm32", no_std)]

use runnel::{Config, Record, DEBUG};

runnel::module!(init, process);

/// Set once, by the config. Nothing may change from record to record: what must
/// stay belongs in the module's state.
struct Options {
    team: &'static str,
    drop_debug: bool,
}

fn init(config: &Config) -> Options {
    config.known(&["team", "drop_debug"]);
    Options {
        team: config.text("team", "nobody"),
        drop_debug: config.bool("drop_debug", false),
    }
}

fn process(options: &mut Options, record: &mut Record) {
    if options.drop_debug && record.severity() == DEBUG {
        record.drop("debug");
        return;
    }
    record.set("team", options.team);
}
