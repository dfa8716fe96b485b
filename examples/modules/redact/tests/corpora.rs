//! Real logs, where they are beside the checkout (../shared/corpora): what is found in
//! them, and that what is not in them is not.

use redact::{Finder, Kind, Kinds};
use std::fs;
use std::path::{Path, PathBuf};

fn logs(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            logs(&path, found);
        } else if path.extension().map_or(false, |e| e == "log") {
            found.push(path);
        }
    }
}

#[test]
fn real_logs_hold_few_secrets() {
    let mut files = Vec::new();
    logs(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/corpora"), &mut files);
    let (mut lines, mut hits) = (0, [0; 6]);
    let mut kinds = Kinds::default();
    Kind::ALL.iter().for_each(|kind| kinds.add(*kind, true));
    for file in &files {
        for line in fs::read(file).unwrap().split(|c| *c == b'\n') {
            lines += 1;
            for hit in Finder::new(kinds, line) {
                hits[hit.kind as usize] += 1;
                assert!(hit.kind != Kind::Card, "{}: {}", file.display(), String::from_utf8_lossy(line));
            }
        }
    }
    for kind in Kind::ALL {
        println!("{} of {} lines: {}", kind.plural(), lines, hits[kind as usize]);
    }
    assert!(files.is_empty() || hits[Kind::Ip as usize] > 1000, "not an address in {} lines", lines);
    assert!(hits[Kind::Email as usize] + hits[Kind::Token as usize] + hits[Kind::Secret as usize] < 50);
}
