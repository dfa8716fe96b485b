//! What a module says, byte for byte (ABI §4), and the services.

use runnel::simulate::{made, verdicts, Records, Simulation};
use runnel::{decimal, parse_int, state, Config, Kind, Level, Record, Tick, Value};
use std::fmt::Write;

fn said(judge: impl Fn(&mut Record)) -> Vec<String> {
    let mut s = Simulation::new(|_: &Config| (), "").unwrap();
    let batch = Records::new().message("a").with(|r| r.message("b").set("k", "v")).message("c").encoded();
    let judge = |_: &mut (), r: &mut Record| {
        if r.index() == 1 {
            judge(r)
        }
    };
    let list = verdicts(&s.process(judge, &batch));
    list.iter().map(|v| format!("{} {} {}", v.index, v.kind, v.payload.escape_ascii())).collect()
}

#[test]
fn verdicts_are_as_the_abi_says() {
    let f = |judge: fn(&mut Record), want: &[&str]| assert_eq!(said(judge), want);
    f(|_| (), &[]);
    f(|r| r.drop("why"), &["1 1 why"]);
    f(|r| r.fail("bad"), &["1 7 bad"]);
    f(|r| r.hold("key"), &["1 6 key"]);
    f(|r| r.set("k", "vw"), &[r"1 2 \x01\x00\x01\x00\x02\x00\x00\x00kvw"]);
    f(|r| r.set_bool("k", true), &[r"1 2 \x05\x00\x01\x00\x01\x00\x00\x00k\x01"]);
    f(|r| r.set_int("k", -2), &[r"1 2 \x03\x00\x01\x00\x08\x00\x00\x00k\xfe\xff\xff\xff\xff\xff\xff\xff"]);
    f(|r| r.route("s"), &[r"1 2 \x19\x00\x00\x00\x01\x00\x00\x00s"]);
    f(|r| r.remove("k"), &[r"1 2 \x07\x00\x01\x00\x00\x00\x00\x00k"]);
    f(|r| (r.set("k", "v"), r.drop("x"), r.set("l", "w")).2, &["1 1 x"]);
    f(|r| (r.drop("x"), r.set_message("y"), r.drop("z")).2, &["1 1 z"]);
    f(|r| _ = r.write_message().push("ab").push(b"c"), &[r"1 2 \x18\x00\x00\x00\x03\x00\x00\x00abc"]);
    f(
        |r| write!(r.write("k", Kind::Json), "[{}]", 7).unwrap(),
        &[r"1 2 \x06\x00\x01\x00\x03\x00\x00\x00k[7]"],
    );
}

#[test]
fn what_is_let_go_stands_where_it_was_said() {
    let f = |judge: fn(&mut Record), want: &[&str]| assert_eq!(said(judge), want);
    f(|r| (r.release("a"), r.hold("b")).1, &["1 8 a", "1 6 b"]);
    f(|r| (r.hold("b"), r.release("a")).1, &["1 6 b", "1 8 a"]);
    f(|r| (r.discard("a", "why"), r.drop("x")).1, &[r"1 10 \x01\x00\x00\x00awhy", "1 1 x"]);
    f(
        |r| {
            r.merge("a").join(" ").set_bool("m", true);
            r.hold("a");
        },
        &[
            r"1 9 \x01\x00\x00\x00a\x1a\x00\x00\x00\x01\x00\x00\x00 \x05\x00\x01\x00\x01\x00\x00\x00m\x01",
            "1 6 a",
        ],
    );
}

#[test]
fn texts_of_every_length_are_copied() {
    let long = "0123456789abcdefghijklmnopqrstuvwxyz0123456789";
    for n in 0..long.len() {
        let got = said(|r| (r.set(&long[..n], &long[n..]), r.route("s")).1);
        let want = format!(
            r"1 2 \x01\x00{}\x00{}\x00\x00\x00{}\x19\x00\x00\x00\x01\x00\x00\x00s",
            [n as u8].escape_ascii(),
            [(long.len() - n) as u8].escape_ascii(),
            long
        );
        assert_eq!(got, [want]);
    }
}

#[test]
fn new_records_are_well_formed() {
    let mut s = Simulation::new(|_: &Config| (), "").unwrap();
    let parent =
        Records::new().with(|r| r.host("h").app("a").sd("[x]").message("m").set("k", "v").set_int("n", 1));
    let judge = |_: &mut (), r: &mut Record| {
        r.set("lost", "x");
        r.emit().copy().message("longer than it was").host("").set("k", "again").severity(3);
        r.emit().set_float("f", 0.5).route("errors").message("one").message("two").procid("p");
        r.replace().app("b").msgid("id").sd("[y]").facility(3).time(9).set_json("j", "[1]");
    };
    let list = verdicts(&s.process(judge, &parent.encoded()));
    assert_eq!(list.iter().map(|v| v.kind).collect::<Vec<_>>(), [3, 5, 5]);

    let batch = made(&list[0].payload);
    let r = batch.iter().next().unwrap();
    assert_eq!((r.app(), r.msgid(), r.sd(), r.message()), (&b"b"[..], &b"id"[..], &b"[y]"[..], &b""[..]));
    assert_eq!((r.facility(), r.severity(), r.time()), (3, 255, 9));
    assert_eq!(r.attr("j"), Some(Value::Json(b"[1]")));

    let batch = made(&list[1].payload);
    let r = batch.iter().next().unwrap();
    assert_eq!((r.host(), r.app(), r.sd()), (&b""[..], &b"a"[..], &b"[x]"[..]));
    assert_eq!((r.message(), r.severity()), (&b"longer than it was"[..], 3));
    let attrs: Vec<_> = r.attrs().collect();
    assert_eq!(attrs, [(&b"n"[..], Value::Int(1)), (&b"k"[..], Value::String(b"again"))]);

    let batch = made(&list[2].payload);
    let r = batch.iter().next().unwrap();
    assert_eq!((r.message(), r.stream(), r.procid()), (&b"two"[..], &b"errors"[..], &b"p"[..]));
    assert_eq!(r.attr("f"), Some(Value::Float(0.5)));
}

#[test]
fn services_answer() {
    let mut s = Simulation::new(|_: &Config| (), "").unwrap();
    s.now(42);
    s.row("hosts", "vm", r#"{"team": "sh\u00f6p", "n": 3}"#);
    s.hold("k", Records::new().message("one").message("two"));
    let judge = |_: &mut (), r: &mut Record| {
        let row = runnel::lookup("hosts", "vm").unwrap();
        r.set("team", runnel::json::text(runnel::json::field(&row, "team").unwrap()).unwrap());
        assert!(runnel::lookup("hosts", "none").is_none());
        assert_eq!(runnel::scan("haystack", "st"), Some(3));
        assert_eq!(runnel::scan("haystack", "sts"), None);
        let held: Vec<_> = state::held("k").unwrap().iter().map(|r| r.message().to_vec()).collect();
        assert_eq!(held, [b"one", b"two"]);
        assert!(state::held("l").is_none());
        let long = vec![7; 5000];
        assert!(state::set("b", &long) && state::set("a", decimal(-12)) && !state::set("", "x"));
        assert_eq!(state::get("b").unwrap()[..], long[..]);
        assert_eq!(state::get("a").and_then(parse_int), Some(-12));
        assert_eq!(state::keys().map(|k| k[0]).collect::<Vec<_>>(), b"ab");
        assert!(state::delete("a") && !state::delete("a") && state::get("a").is_none());
        runnel::metric("seen_total", 2.0);
        runnel::warn("careful");
    };
    let list = verdicts(&s.process(judge, &Records::new().message("x").encoded()));
    assert!(list[0].payload.ends_with("teamshöp".as_bytes()));
    assert_eq!(s.lines(), [(Level::Warn, "careful".to_string())]);
    assert_eq!(s.metric("seen_total"), 2.0);

    let tick = |_: &mut (), t: &mut Tick| {
        assert_eq!(t.now(), 42);
        t.emit().copy().message("tick");
        t.release("k");
        t.merge("l").join("");
        t.discard("m", "old");
    };
    let list = verdicts(&s.tick(tick));
    assert!(list.iter().all(|v| v.index == u32::MAX));
    assert_eq!(list.iter().map(|v| v.kind).collect::<Vec<_>>(), [5, 8, 9, 10]);
}

#[test]
fn numbers_are_read_and_written() {
    for n in [0, 7, -1, 10, 1234567890123456789, i64::MAX, i64::MIN] {
        assert_eq!(decimal(n).as_ref(), n.to_string().as_bytes());
        assert_eq!(parse_int(n.to_string()), Some(n));
    }
    for text in ["", "-", "1.5", "9223372036854775808", "-9223372036854775809", "99999999999999999999", "1e3"]
    {
        assert_eq!(parse_int(text), None, "{}", text);
    }
}

fn read(c: &Config) -> String {
    let read = format!(
        "{} {} {} {:?} {}",
        c.bool("b", true),
        c.text("s", "-"),
        c.int("i", 7),
        c.texts("l"),
        c.object("o").text("p", "-")
    );
    c.known(&["b", "s", "i", "l", "o"]);
    runnel::info(read);
    String::new()
}

#[test]
fn config_is_read_with_its_types() {
    let f = |config: &str, want: &[&str]| {
        let got = match Simulation::new(read, config) {
            Ok(mut s) => s.lines().into_iter().map(|(_, line)| line).collect(),
            Err(lines) => lines,
        };
        let mut got: Vec<_> = got.iter().map(String::as_str).collect();
        got.sort_by_key(|line| line.contains("not ") || line.contains("known"));
        assert_eq!(got, want, "{}", config);
    };
    const NONE: &str = "true - 7 [] -";
    f("", &[NONE]);
    f("{}", &[NONE]);
    f("null", &[NONE]);
    f(
        r#" { "b" : false , "s":"x\n\u00e9\ud83d\ude00\"\q","i":-12, "l":["a","b"],"o":{"p":"q"}} "#,
        &["false x\né😀\"q -12 [\"a\", \"b\"] q"],
    );
    f(r#"{"b":1}"#, &[NONE, "b is 1, not true or false"]);
    f(r#"{"s":1}"#, &[NONE, "s is 1, not a text"]);
    f(r#"{"i":1.5}"#, &[NONE, "i is 1.5, not a whole number"]);
    f(r#"{"l":["a",1]}"#, &[NONE, r#"l is ["a",1], not a list of texts"#]);
    f(r#"{"o":[]}"#, &[NONE, "o is [], not an object"]);
    f(r#"{"o":{"p":true}}"#, &[NONE, "o.p is true, not a text"]);
    f(r#"{"z":1}"#, &[NONE, r#"unknown key "z"; known are: b, s, i, l, o"#]);
    f(r#"{"s":[1111111111,2222222222,3333333333,4444ä]}"#, &["it is not a JSON object"]);
    f(
        r#"{"s":[1111111111,2222222222,3333333333,"444ää"]}"#,
        &[NONE, r#"s is [1111111111,2222222222,3333333333,"444ä…, not a text"#],
    );
    let deep = r#"{"a":"#.repeat(120) + "1" + &"}".repeat(120);
    for broken in [
        "[]",
        "{",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{"a":1}x"#,
        r#"{"a":tru}"#,
        r#"{"a":""#,
        "{a:1}",
        "\"x\"",
        r#"{"a":"\"#,
        &deep,
    ] {
        f(broken, &["it is not a JSON object"]);
    }
}
