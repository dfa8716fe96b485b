//! Conformance is a guest that does what each record's message says, one operation
//! a line, so that a test of the host can ask for every verdict and service of ABI
//! v1. wasm/conformance_test.go says what must come of it; the conformance guests of
//! the other languages do the same.
#![cfg_attr(target_arch = "wasm32", no_std)]

use runnel::{decimal, state, Config, Level, List, Record, Tick};

runnel::module!(init, obey, tick = tick, flush = flush);

fn init(config: &Config) {
    let refusal = config.text("refuse", "");
    if !refusal.is_empty() {
        config.problem(refusal);
    }
    if config.bool("panic", false) {
        panic!("asked to");
    }
}

fn obey(_: &mut (), r: &mut Record) {
    for line in r.message().split(|c| *c == b'\n') {
        let (verb, argument) = cut(line);
        judge(r, verb, argument);
    }
}

fn tick(_: &mut (), t: &mut Tick) {
    let now = t.now();
    t.emit().message("tick").set_int("now", now);
    t.release("tick");
}

fn flush(_: &mut (), t: &mut Tick) {
    t.emit().message("flush");
}

/// Splits at the first space; what is behind it is empty if there is none.
fn cut(s: &[u8]) -> (&[u8], &[u8]) {
    match s.iter().position(|c| *c == b' ') {
        Some(at) => (&s[..at], &s[at + 1..]),
        None => (s, b""),
    }
}

fn digit(argument: &[u8]) -> u8 {
    argument[0] - b'0'
}

/// The verdicts on the record and the changes to it.
fn judge(r: &mut Record, verb: &[u8], argument: &[u8]) {
    let (key, value) = cut(argument);
    match verb {
        b"keep" => (),
        b"drop" => r.drop(argument),
        b"fail" => r.fail(argument),
        b"route" => r.route(argument),
        b"set" => r.set(key, value),
        b"copy" => r.set(value, r.text(key).unwrap_or(b"")),
        b"int" => r.set_int(key, -(value.len() as i64)),
        b"float" => r.set_float(key, value.len() as f64 + 0.5),
        b"bool" => r.set_bool(key, value == b"true"),
        b"json" => r.set_json(key, value),
        b"remove" => r.remove(argument),
        b"message" => r.set_message(argument),
        b"severity" => r.set_severity(digit(argument)),
        b"facility" => r.set_facility(digit(argument)),
        b"time" => r.set_time(runnel::now()),
        b"host" => r.set_host(argument),
        b"app" => r.set_app(argument),
        b"procid" => r.set_procid(argument),
        b"msgid" => r.set_msgid(argument),
        b"sd" => r.set_sd(argument),
        b"replace" => _ = r.replace().host("new").message(argument).set_int("n", 1),
        b"emit" => _ = r.emit().copy().message(argument).set("child", "yes"),
        b"emit-to" => _ = r.emit().severity(runnel::ERR).route(key).message(value),
        b"flood" => (0..65).for_each(|_| _ = r.emit().message("x")),
        b"hold" => r.hold(argument),
        b"release" => r.release(argument),
        b"discard" => r.discard(key, value),
        b"merge" => {
            let separator = if value.is_empty() { b"\n" } else { value };
            r.merge(key).join(separator).set_bool("merged", true);
        }
        _ => serve(r, verb, argument),
    }
}

/// The host's services.
fn serve(r: &mut Record, verb: &[u8], argument: &[u8]) {
    let (key, value) = cut(argument);
    match verb {
        b"log" => runnel::log(Level::Warn, argument),
        b"print" => runnel::info(argument),
        b"put" => _ = state::set(key, value),
        b"get" => match state::get(argument) {
            Some(value) => r.set(argument, value),
            None => r.set(argument, "none"),
        },
        b"forget" => _ = state::delete(argument),
        b"count" => {
            let n = state::get(argument).and_then(runnel::parse_int).unwrap_or(0) + 1;
            state::set(argument, decimal(n));
            r.set_int(argument, n);
        }
        b"keys" => {
            let mut list = List::new();
            for key in state::keys() {
                list.extend(if list.is_empty() { b"" } else { b"," });
                list.extend(&key);
            }
            r.set("keys", list)
        }
        b"heldcount" => r.set_int("held", state::held(argument).map_or(0, |held| held.len() as i64)),
        b"metric" => match (core::str::from_utf8(key), runnel::parse_int(value)) {
            (Ok(name), Some(n)) => runnel::metric(name, n as f64),
            _ => panic!("metric NAME N"),
        },
        b"lookup" => match runnel::lookup(key, value) {
            Some(row) => r.set_json("row", row),
            None => r.set("row", "none"),
        },
        b"find" => r.set_int("at", runnel::scan(r.message(), argument).map_or(-1, |at| at as i64)),
        _ => misbehave(verb),
    }
}

/// Does what a guest must not, to see that the host lives.
fn misbehave(verb: &[u8]) {
    match verb {
        b"panic" => panic!("asked to"),
        b"index" => _ = b"x"[verb.len()],
        b"loop" | b"block" => loop {
            // nothing else keeps a lone thread waiting
            core::hint::spin_loop()
        },
        b"memory" => {
            let mut garbage = List::new();
            loop {
                garbage.extend(&[verb[0]; 1 << 10]);
            }
        }
        b"recurse" => _ = deep(verb.len() as u64),
        _ => (),
    }
}

/// Ends when the host says so.
#[allow(unconditional_recursion)]
#[inline(never)]
fn deep(n: u64) -> u64 {
    let next = [n; 4]; // on the stack, so that this is no loop
    deep(unsafe { core::ptr::read_volatile(&next[n as usize % 4]) } + 1) + 1
}
