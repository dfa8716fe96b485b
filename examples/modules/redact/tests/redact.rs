//! What is hidden, what is not, and that hostile text costs no more than other text.

use redact::{init, process, Finder, Kind, Kinds};
use runnel::simulate::{verdicts, Records, Simulation};
use std::time::Instant;

fn all() -> Kinds {
    let mut kinds = Kinds::default();
    Kind::ALL.iter().for_each(|kind| kinds.add(*kind, true));
    kinds
}

fn redacted(text: &str) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for hit in Finder::new(all(), text.as_bytes()) {
        out += &text[at..hit.from];
        out += &format!("<{}>", hit.kind.singular());
        at = hit.to;
    }
    out + &text[at..]
}

#[test]
fn secrets_are_found() {
    for (text, want) in [
        // cards, of every issuer and grouping
        ("paid with 4111111111111111.", "paid with <card>."),
        ("card 4111 1111 1111 1111 ok", "card <card> ok"),
        ("card=4111-1111-1111-1111", "card=<card>"),
        ("5 4111 1111 1111 1111", "5 <card>"),
        ("2026-11-22 10:00:00 5500005555555559,x", "2026-11-22 10:00:00 <card>,x"),
        ("amex 378282246310005, 3782 822463 10005", "amex <card>, <card>"),
        ("diners 30569309025904 3056 930902 5904", "diners <card> <card>"),
        ("6011111111111117/3530111333300000", "<card>/<card>"),
        ("{\"pan\":4222222222222}", "{\"pan\":<card>}"),
        ("4111111111111111", "<card>"),
        // e-mail
        ("from <jo.doe+x@mail.example.org>: hi", "from <<email>>: hi"),
        ("a@b.cc,c@d.ee;", "<email>,<email>;"),
        ("jörg@exämple.de schrieb", "<email> schrieb"),
        ("user=me@x.example.", "user=<email>."),
        // tokens
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer <secret>"),
        ("got bearer YWJjZGVmZ2g1Ng== back", "got bearer <token> back"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln end", "jwt <token> end"),
        ("key AKIAIOSFODNN7EXAMPLE used", "key <token> used"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "<token>"),
        ("xoxb-123456789012-abcdefABCDEF", "<token>"),
        ("glpat-abcdefghij0123456789", "<token>"),
        // by name
        ("password=hunter2&user=x", "password=<secret>&user=x"),
        ("DB_PASSWORD: hunter2", "DB_PASSWORD: <secret>"),
        ("{\"password\":\"hun\\\"ter2\",\"n\":1}", "{\"password\":\"<secret>\",\"n\":1}"),
        ("{\"password\" : 1234}", "{\"password\" : <secret>}"),
        ("{\"log\":\"{\\\"api_key\\\":\\\"abc\\\"}\"}", "{\"log\":\"{\\\"api_key\\\":\\\"<secret>\\\"}\"}"),
        ("x-api-key: 12ab", "x-api-key: <secret>"),
        ("aws_secret_access_key = wJalr/K7+x", "aws_secret_access_key = <secret>"),
        ("access_token='a b c'", "access_token='<secret>'"),
        ("pwd=\"cut off", "pwd=\"<secret>"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic <secret>"),
        ("postgres://app:hunter2@db:5432/x", "postgres://app:<secret>@db:5432/x"),
        ("the passphrase is: foo", "the passphrase is: <secret>"),
        ("UID=sa;PWD=/x9;", "UID=sa;PWD=<secret>;"),
        ("DB_PWD=/x9", "DB_PWD=<secret>"),
        ("pwd=/x9", "pwd=<secret>"),
        // of cookies all values, of one that is set its own
        ("Cookie: PHPSESSID=abc123; theme=dark", "Cookie: PHPSESSID=<secret>"),
        ("Set-Cookie: sid=abc123; Path=/; HttpOnly", "Set-Cookie: sid=<secret>; Path=/; HttpOnly"),
        ("cookie=\"a=1; b=2\" 200", "cookie=\"a=<secret>\" 200"),
        ("{\"Cookie\":\"a=1; b=2\",\"n\":1}", "{\"Cookie\":\"a=<secret>\",\"n\":1}"),
        ("{\"l\":\"{\\\"cookie\\\":\\\"a=1; b=2\\\"}\"}", "{\"l\":\"{\\\"cookie\\\":\\\"a=<secret>\\\"}\"}"),
        ("curl -H 'Cookie: a=1;b=2' x", "curl -H 'Cookie: a=<secret>' x"),
        ("GET /a;jsessionid=0A1B?PHPSESSID=abc HTTP/1.1", "GET /a;jsessionid=<secret> HTTP/1.1"),
        // of command lines
        (
            "COMMAND=/usr/bin/curl -s -u bob:hunter2 https://x",
            "COMMAND=/usr/bin/curl -s -u bob:<secret> https://x",
        ),
        ("curl --user 'bob:hun ter2' x", "curl --user 'bob:<secret>' x"),
        ("curl --proxy-user=bob:hunter2", "curl --proxy-user=bob:<secret>"),
        ("curl -ubob:hunter2 x", "curl -ubob:<secret> x"),
        ("mysql -h db -u app -phunter2 shop", "mysql -h db -u app -p<secret> shop"),
        ("(root) CMD (/usr/bin/mysqldump -p'a b' shop)", "(root) CMD (/usr/bin/mysqldump -p'<secret>' shop)"),
        ("пароль password=секрет конец", "пароль password=<secret> конец"),
        // keys
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----<key>-----END RSA PRIVATE KEY-----\n",
        ),
        ("{\"k\":\"-----BEGIN PRIVATE KEY-----\\nMII\"}", "{\"k\":\"-----BEGIN PRIVATE KEY-----<key>\"}"),
        // addresses
        ("from 10.0.0.7:4780, 192.168.1.255", "from <ip>:4780, <ip>"),
        ("[2001:db8::1]:443 fe80::1 ::1", "[<ip>]:443 <ip> <ip>"),
        ("2001:db8:0:0:0:0:0:1 up", "<ip> up"),
    ] {
        assert_eq!(redacted(text), want, "{}", text);
    }
}

#[test]
fn other_things_are_left_alone() {
    for text in [
        // numbers
        "1700000000000 1700000000000000 1700000000000000000",
        "4111111111111112 is no card",
        "4111 1111-1111 1111",
        "order 1234567890123 of 12345678901234567890123",
        "x4111111111111111 4111111111111111x 0.4111111111111111",
        "550e8400-e29b-41d4-a716-446655440000",
        "trace 4bf92f3577b34da6a3ce929d0e0e4736",
        "2026-11-22T10:07:05.143147Z 12:34:56 12:34:56.789",
        "blk_-1608999687919862906 src blk_-4111111111111111 -4111111111111111",
        "cipher=chacha20-poly1305@openssh.com (using password: YES)",
        "0000000000000000",
        // no addresses
        "@ a@ @b a@b root@localhost user@1000.service logo@2x.png",
        "[origin@123 x=\"1\"]",
        "1.2.3 1.2.3.4.5 v1.2.3.4 256.1.1.1 1.2.3.4-beta",
        "00:1a:2b:3c:4d:5e std::vector a::b 10::x",
        // no secrets
        "password: ",
        "password=null token=*** \"secret\":true",
        "unexpected token: end of file",
        "Failed password for root from here",
        "bearer of bad news",
        "passwords=3 tokens: 17 if (token == x) password={}",
        "bob : TTY=pts/0 ; PWD=/home/bob ; USER=root ; COMMAND=/bin/ls",
        "PWD=/root OLDPWD=/home/bob {\"PWD\":\"/srv\"} PWD=unknown",
        "password is required; the password is too short; it is: so",
        "cookie: 0x55 cookie=17 Cookie: none, cookies: a=1",
        "docker run -u 1000:1000 x; chown -u a:b; curl http://host:80/a:b | tar -u a:b",
        "mysql -p shop; mysql -P 3306; ssh -p2222 db; mkdir -pv; mysql x | ssh -p2222; mysqld -px",
        "ghp_short AKIASHORT eyJ eyJx.y",
        "-----BEGIN CERTIFICATE-----",
        "https://example.org/a:b@c http://host:80/x",
    ] {
        assert_eq!(redacted(text), text);
    }
}

#[test]
fn text_stays_utf8_and_hits_are_in_order() {
    let parts = [
        "é",
        "\"",
        "\\",
        "password=",
        "@",
        "x.de",
        "4111111111111111",
        ":",
        "eyJ",
        " ",
        "-----BEGIN PRIVATE KEY-----",
        "::1",
        "日",
        "1.2.3.4",
        "Bearer ",
        "token:",
        "://",
        "_",
        "0",
        "a",
    ];
    let mut seed = 1u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            text += parts[(seed >> 33) as usize % parts.len()];
        }
        let mut at = 0;
        for hit in Finder::new(all(), text.as_bytes()) {
            assert!(at <= hit.from && hit.from < hit.to && hit.to <= text.len(), "{}", text);
            assert!(text.is_char_boundary(hit.from) && text.is_char_boundary(hit.to), "{}", text);
            at = hit.to;
        }
    }
}

/// Twice the text takes about twice the time: what is quadratic takes four times,
/// and at this length minutes.
#[test]
fn hostile_text_takes_linear_time() {
    for part in [
        "@",
        "a@",
        "a.",
        "eyJ",
        "eyJa.",
        "ey",
        "token:",
        "\"token\":",
        "password=",
        "password=\"",
        "pwd='",
        "pwd=\\\"",
        "1",
        "1 ",
        "1111 ",
        "1111-",
        "1:",
        "::",
        "f:",
        "://",
        "a:",
        "Bearer ",
        "bearer a",
        "-----BEGIN PRIVATE KEY-----",
        "BEGIN ",
        "-----BEGIN ",
        "ghp_",
        "github_pat_",
        "xoxb-",
        "1.",
        "1.1.1.",
        "AKIA",
        "\\",
        "\"",
        "_",
        "-",
        "pwd=***",
        "secret: x",
        "cookie:",
        "cookie: a=",
        "cookie: a=1; ",
        "set-cookie: a=",
        "a; ",
        "-u a:",
        "curl -u a:",
        " -p1",
        "mysql -p",
        "mysql -p'",
        "password is:",
        "(PWD=/",
        " PWD=\"/",
        "{PWD='~",
    ] {
        let text = part.repeat(1_000_000 / part.len());
        for kinds in [all(), Kinds::default()] {
            let start = Instant::now();
            let n = Finder::new(kinds, text.as_bytes()).count();
            assert!(start.elapsed().as_secs() < 5, "{:?}: {} hits in {:?}", part, n, start.elapsed());
        }
    }
}

fn output(config: &str, records: Records) -> Vec<String> {
    let mut s = Simulation::new(init, config).unwrap();
    let list = verdicts(&s.process(process, &records.encoded()));
    list.iter().map(|v| String::from_utf8_lossy(&v.payload).into_owned()).collect()
}

#[test]
fn numbers_in_json_become_texts() {
    let message = r#"{"a":"x 4111111111111111","b":4111111111111111,"password":7}"#;
    let got = output("{}", Records::new().message(message));
    assert!(got[0].ends_with(r#"{"a":"x ***","b":"***","password":"***"}"#), "{:?}", got);
}

#[test]
fn a_record_of_too_many_secrets_loses_its_attributes() {
    let records = Records::new().with(|mut r| {
        for i in 0..300 {
            r = r.set(format!("password{}", i), "4111111111111111");
        }
        r.message("m pwd=hunter2").host("h")
    });
    let mut s = Simulation::new(init, "{}").unwrap();
    let list = verdicts(&s.process(process, &records.encoded()));
    assert_eq!((list.len(), list[0].kind), (1, 3));
    let text = String::from_utf8_lossy(&list[0].payload).into_owned();
    assert!(text.contains("m pwd=***") && text.contains("redacted") && !text.contains("4111"), "{}", text);
}

#[test]
fn a_replacement_must_not_break_what_it_stands_in() {
    for config in [
        r#"{"replacement":"\""}"#,
        r#"{"replacement":"12345678901234567"}"#,
        r#"{"kinds":["card"]}"#,
        r#"{"kind":[]}"#,
    ] {
        assert!(Simulation::new(init, config).is_err(), "{}", config);
    }
}
