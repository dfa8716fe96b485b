//! Every numbered batch of the format (record/testdata/vectors), field by field
//! against the JSON beside it.

use runnel::simulate::Simulation;
use runnel::{json, Config, Kind, Record, Value, ABSENT, NO_TIME};
use std::fs;
use std::path::PathBuf;

fn vectors() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../record/testdata/vectors");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().map_or(false, |e| e == "bin"));
    files.sort();
    assert!(files.len() >= 28, "only {} vectors", files.len());
    files
}

fn text(raw: Option<&str>) -> String {
    raw.map_or(String::new(), |raw| String::from_utf8(json::text(raw).unwrap().to_vec()).unwrap())
}

/// What JSON makes of bytes: U+FFFD for each that is not UTF-8.
fn shown(bytes: &[u8]) -> String {
    let (mut s, mut rest) = (String::new(), bytes);
    loop {
        match std::str::from_utf8(rest) {
            Ok(good) => return s + good,
            Err(e) => {
                let (good, bad) = rest.split_at(e.valid_up_to());
                s += std::str::from_utf8(good).unwrap();
                s.push('\u{fffd}');
                rest = &bad[1..];
            }
        }
    }
}

/// Nanoseconds since 1970 of an RFC 3339 time in UTC; days by civil-from-days, backwards.
fn nanoseconds(time: &str) -> i64 {
    let n = |from: usize, to: usize| time[from..to].parse::<i64>().unwrap();
    let (y, m, d) = (n(0, 4), n(5, 7), n(8, 10));
    let y = if m <= 2 { y - 1 } else { y };
    let (era, year) = (y.div_euclid(400), y.rem_euclid(400));
    let day = (153 * (m + if m > 2 { -3 } else { 9 }) + 2) / 5 + d - 1;
    let days = era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468;
    let seconds = days * 86_400 + n(11, 13) * 3600 + n(14, 16) * 60 + n(17, 19);
    let fraction = time[19..].trim_end_matches('Z').trim_start_matches('.');
    let nanos: i64 = format!("{:0<9}", fraction).parse().unwrap();
    (seconds as i128 * 1_000_000_000 + nanos as i128) as i64
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut s = String::new();
    for three in bytes.chunks(3) {
        let n = three.iter().fold(0u32, |n, b| n << 8 | *b as u32) << (8 * (3 - three.len()));
        for i in 0..4 {
            let c = LETTERS[(n >> (18 - 6 * i) & 63) as usize] as char;
            s.push(if i > three.len() { '=' } else { c });
        }
    }
    s
}

fn compact(json: &str) -> String {
    json.chars().filter(|c| !c.is_ascii_whitespace()).collect()
}

fn compare(r: &Record, want: &str, at: &str) {
    let field = |key: &str| json::field(want.as_bytes(), key);
    let number = |key: &str, absent: i64| field(key).map_or(absent, |raw| raw.parse().unwrap());
    let time = |key: &str, absent: i64| field(key).map_or(absent, |raw| nanoseconds(&text(Some(raw))));
    assert_eq!(r.severity() as i64, number("severity", ABSENT as i64), "{} severity", at);
    assert_eq!(r.facility() as i64, number("facility", ABSENT as i64), "{} facility", at);
    assert_eq!(r.time(), time("time", NO_TIME), "{} time", at);
    assert_eq!(r.received(), time("received", 0), "{} received", at);
    for (key, got) in [
        ("host", r.host()),
        ("app", r.app()),
        ("procid", r.procid()),
        ("msgid", r.msgid()),
        ("stream", r.stream()),
        ("input", r.input()),
        ("peer", r.peer()),
        ("agent", r.agent()),
        ("message", r.message()),
    ] {
        assert_eq!(shown(got), text(field(key)), "{} {}", at, key);
    }
    assert_eq!(r.sd().is_empty(), field("sd").is_none(), "{} sd", at);
    let flags = field("flags").map_or(0, |raw| raw.matches(',').count() + 1);
    assert_eq!(r.flags().count_ones() as usize, flags, "{} flags", at);

    let mut wanted = Vec::new();
    assert!(json::fields(field("attrs").unwrap_or("{}"), |key, value| wanted.push((text(Some(key)), value))));
    assert_eq!(r.attrs().count(), wanted.len(), "{} attributes", at);
    for ((key, value), (wanted_key, raw)) in r.attrs().zip(&wanted) {
        let at = format!("{} attribute {}", at, wanted_key);
        assert_eq!(&shown(key), wanted_key, "{}", at);
        match value {
            Value::String(s) => assert_eq!(shown(s), text(Some(raw)), "{}", at),
            Value::Bytes(b) => assert_eq!(base64(b), text(Some(raw)), "{}", at),
            Value::Int(n) => assert_eq!(n.to_string(), *raw, "{}", at),
            Value::Float(f) => {
                let want: f64 = raw.trim_matches('"').parse().unwrap(); // "NaN" and "Inf" are texts
                assert!(f == want || f.is_nan() && want.is_nan(), "{}", at)
            }
            Value::Bool(b) => assert_eq!(b.to_string(), *raw, "{}", at),
            Value::Json(j) if raw.starts_with('"') => assert_eq!(shown(j), text(Some(raw)), "{}", at), // is none
            Value::Json(j) => assert_eq!(compact(&shown(j)), compact(raw), "{}", at),
        }
        assert_eq!(format!("{:?}", r.attr(key)), format!("{:?}", Some(value)), "{}", at); // NaN is not NaN
        assert_eq!(r.text(key).is_some(), matches!(value.kind(), Kind::String | Kind::Bytes | Kind::Json));
    }
    assert!(r.attr("no such attribute").is_none());
}

#[test]
fn every_vector_reads_as_its_json() {
    for file in vectors() {
        let lines = fs::read_to_string(file.with_extension("json")).unwrap();
        let lines: Vec<&str> = lines.lines().collect();
        let mut seen = Simulation::new(|_: &Config| 0, "{}").unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let check = |seen: &mut usize, r: &mut Record| {
            assert_eq!(r.index(), *seen);
            compare(r, lines[r.index()], &format!("{} record {}", name, r.index()));
            *seen += 1;
        };
        assert!(seen.process(check, &fs::read(&file).unwrap()).is_empty());
        assert_eq!(*seen.module(), lines.len(), "{}", name);
    }
}
