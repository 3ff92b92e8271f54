//! Every way a file can be wrong, by a table, under both policies.

use super::*;
use std::path::PathBuf;
use tempfile::TempDir;

fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn skipping() -> Loader {
    Loader { bad_lines: BadLines::Skip, max_line: 100 }
}

fn stopping() -> Loader {
    Loader { bad_lines: BadLines::Stop, max_line: 100 }
}

fn pairs(split: &Split) -> Vec<(&str, &str)> {
    split.examples().iter().map(|example| (example.input.as_str(), example.target.as_str())).collect()
}

#[test]
fn well_formed_files_load() {
    type Case<'a> = (&'a str, &'a [u8], Format, &'a [(&'a str, &'a str)]);
    let cases: [Case; 10] = [
        ("a.tsv", b"abc\tab\nxyz\txy\n", Format::Tsv, &[("abc", "ab"), ("xyz", "xy")]),
        ("a.tsv", b"\xEF\xBB\xBFabc\tab\r\nxyz\txy\r\n", Format::Tsv, &[("abc", "ab"), ("xyz", "xy")]),
        ("a.TSV", b"abc\tab", Format::Tsv, &[("abc", "ab")]),
        ("a.tsv", b"abc\tab\n\n", Format::Tsv, &[("abc", "ab")]),
        ("a.tsv", b"\tab\nabc\t\n\t\n", Format::Tsv, &[("", "ab"), ("abc", ""), ("", "")]),
        ("a.tsv", "न\u{93F}\tन \n".as_bytes(), Format::Tsv, &[("नि", "न ")]),
        ("a.jsonl", b"{\"input\":\"a\\tb\",\"target\":\"\",\"x\":[]}\n\n", Format::Jsonl, &[("a\tb", "")]),
        ("a.txt", b"\xEF\xBB\xBF {\"input\":\"a\",\"target\":\"b\"}", Format::Jsonl, &[("a", "b")]),
        ("a.txt", b"a\tb", Format::Tsv, &[("a", "b")]),
        ("a.tsv", b"{\"input\":1}\tb", Format::Tsv, &[("{\"input\":1}", "b")]),
    ];
    for (name, bytes, format, expected) in cases {
        let (_folder, path) = file(name, bytes);
        let split = stopping().file(&path).unwrap();
        assert_eq!(split.format(), format, "{name}");
        assert_eq!(pairs(&split), expected, "{name}");
        assert_eq!(split.skipped().count(), 0);
    }
}

#[test]
fn names_and_levels_come_from_the_file() {
    let lines = r#"{"id":"one","level":3,"input":"a","target":"b"}
{"id":17,"level":null,"input":"a","target":"b"}
{"input":"a","target":"b"}
{"id":"one","input":"a","target":"b"}"#;
    let (_folder, path) = file("a.jsonl", lines.as_bytes());
    let split = stopping().file(&path).unwrap();
    let found: Vec<_> = split.examples().iter().map(|example| (example.id.as_deref(), example.level)).collect();
    assert_eq!(found, [(Some("one"), Some(3)), (Some("17"), None), (None, None), (Some("one"), None)]);
}

#[test]
fn every_bad_line_is_named_under_stop_and_listed_under_skip() {
    let long = vec![b'a'; 101];
    let wrong = |key, expected, found| LineFault::WrongType { key, expected, found };
    let tsv: [(&[u8], LineFault); 7] = [
        (b"", LineFault::Blank),
        (b"no tab", LineFault::MissingColumn),
        (b"a\tb\tc", LineFault::ExtraColumns { columns: 3 }),
        (b"a\tb\t\t", LineFault::ExtraColumns { columns: 4 }),
        (b"a\tb\xFF", LineFault::InvalidUtf8 { position: 4, byte: 0xFF }),
        // A character cut off at the end of its line.
        (b"a\t\xE2\x82", LineFault::InvalidUtf8 { position: 3, byte: 0xE2 }),
        (&long, LineFault::TooLong { length: 101, limit: 100 }),
    ];
    let json: [(&[u8], LineFault); 10] = [
        (b"", LineFault::Blank),
        (b"{\"input\":", LineFault::Json { column: 9, message: "EOF while parsing a value".into() }),
        (b"[1]", LineFault::NotAnObject { found: "a list" }),
        (b"{\"target\":\"b\"}", LineFault::MissingKey { key: "input" }),
        (b"{\"input\":\"b\"}", LineFault::MissingKey { key: "target" }),
        (b"{\"input\":1,\"target\":\"b\"}", wrong("input", "a string", "a number")),
        (b"{\"input\":\"\",\"target\":null}", wrong("target", "a string", "null")),
        (b"{\"id\":{},\"input\":\"\",\"target\":\"\"}", wrong("id", "a string or a number", "an object")),
        (
            b"{\"level\":-1,\"input\":\"\",\"target\":\"\"}",
            wrong("level", "a whole number from 0", "a negative number"),
        ),
        (b"{\"level\":1.5,\"input\":\"\",\"target\":\"\"}", wrong("level", "a whole number from 0", "a fraction")),
    ];
    let good: [(&str, &[u8]); 2] = [("a.tsv", b"in\tout"), ("a.jsonl", b"{\"input\":\"in\",\"target\":\"out\"}")];
    let cases = tsv.into_iter().map(|case| (good[0], case)).chain(json.into_iter().map(|case| (good[1], case)));
    for ((name, good), (bad, fault)) in cases {
        let (_folder, path) = file(name, &[good, bad, good].join(&b'\n'));
        let expected = BadLine { path: path.clone(), line: 2, fault };
        match stopping().file(&path) {
            Err(DataError::Line(found)) => assert_eq!(found, expected),
            other => panic!("{expected}: {other:?}"),
        }
        let split = skipping().file(&path).unwrap();
        assert_eq!(pairs(&split), [("in", "out"); 2], "{expected}");
        assert_eq!((split.line(0), split.line(1)), (1, 3));
        assert_eq!((split.skipped().count(), split.skipped().first()), (1, &[expected][..]));
    }
}

#[test]
fn deeply_nested_json_is_a_bad_line_and_not_a_crash() {
    let (_folder, path) = file("a.jsonl", "[".repeat(100_000).as_bytes());
    let error = Loader::default().file(&path).unwrap_err().to_string();
    assert!(error.contains("a.jsonl:1: malformed JSON at column"), "{error}");
}

#[test]
fn a_hundred_bad_lines_are_counted_and_ten_are_shown() {
    let (_folder, path) = file("a.tsv", ["bad\n".repeat(100), "a\tb\n".into()].concat().as_bytes());
    let split = skipping().file(&path).unwrap();
    assert_eq!((split.skipped().count(), split.skipped().first().len()), (100, 10));
    let text = split.skipped().to_string();
    assert!(text.starts_with("100 bad lines skipped\n") && text.ends_with("and 90 more"), "{text}");
}

#[test]
fn files_that_cannot_be_used_say_why_and_what_to_do() {
    for bytes in [&b""[..], b"\xEF\xBB\xBF", b"\n"] {
        let (_folder, path) = file("a.tsv", bytes);
        assert!(matches!(stopping().file(&path), Err(DataError::Empty { .. })), "{bytes:?}");
    }
    let (folder, path) = file("a.tsv", b"bad\n\n\n");
    let error = skipping().file(&path).unwrap_err();
    assert!(matches!(&error, DataError::NoExamples { skipped, .. } if skipped.count() == 2), "{error}");
    assert!(error.to_string().contains("a.tsv:1: one column"), "{error}");

    let missing = folder.path().join("none.tsv");
    assert!(matches!(stopping().file(&missing), Err(DataError::Missing { path }) if path == missing));
    assert!(matches!(stopping().file(folder.path()), Err(DataError::IsFolder { path }) if path == folder.path()));
    // The system decides who may read what (an administrator may read everything), so its answer is given here.
    let denied = DataError::io(&path, std::io::ErrorKind::PermissionDenied.into());
    assert!(matches!(&denied, DataError::Denied { .. }) && denied.to_string().contains("chmod"), "{denied}");
    let other = DataError::io(&path, std::io::ErrorKind::StorageFull.into());
    assert!(matches!(other, DataError::Io { .. }));
}

#[test]
fn a_folder_holds_train_and_dev_and_perhaps_test() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let load = || stopping().folder(folder.path());

    assert!(matches!(load(), Err(DataError::NoSplit { name: "train", .. })));
    write("train.tsv", "a\tb\n");
    assert!(matches!(load(), Err(DataError::NoSplit { name: "dev", .. })));
    write("dev.jsonl", "{\"input\":\"c\",\"target\":\"d\"}\n");
    let data = load().unwrap();
    assert_eq!((pairs(&data.train), pairs(&data.dev)), (vec![("a", "b")], vec![("c", "d")]));
    assert_eq!(data.test, None);
    write("test.tsv", "e\tf\n");
    assert_eq!(pairs(&load().unwrap().test.unwrap()), [("e", "f")]);
    write("test.jsonl", "");
    assert!(matches!(load(), Err(DataError::TwoFiles { name: "test", .. })));

    let missing = folder.path().join("none");
    assert!(matches!(stopping().folder(&missing), Err(DataError::Missing { .. })));
}

#[test]
fn empty_tokens_are_bad_lines_once_the_units_are_tokens() {
    let (_folder, path) = file("a.tsv", b"w\ta b\nx\t a\ny\t\nz\ta  b\n");
    let load = |loader: Loader, units| loader.check_units(loader.file(&path).unwrap(), units);
    let kept = load(skipping(), TargetUnits::Tokens).unwrap();
    assert_eq!(pairs(&kept), [("w", "a b"), ("y", "")]);
    assert_eq!(kept.line(1), 3);
    let found: Vec<_> = kept.skipped().first().iter().map(|bad| (bad.line, bad.fault.clone())).collect();
    assert_eq!(found, [(2, LineFault::EmptyToken { token: 1 }), (4, LineFault::EmptyToken { token: 2 })]);
    let stopped = load(stopping(), TargetUnits::Tokens);
    assert!(matches!(stopped, Err(DataError::Line(BadLine { line: 2, .. }))), "{stopped:?}");
    assert_eq!(load(stopping(), TargetUnits::Graphemes).unwrap().examples().len(), 4);
}
