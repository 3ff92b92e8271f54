//! The committed data are what the generator makes, byte for byte, and they load.

use grapheme_train::data::generate::{Overwrite, Plan};
use grapheme_train::data::{Loader, TargetUnits, propose};
use std::fs;
use std::path::Path;

#[test]
fn one_command_reproduces_the_committed_files() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/generated");
    let fresh = tempfile::tempdir().unwrap();
    let made = Plan::default().generate().unwrap();
    let mut total = 0;
    for file in made.write(fresh.path(), Overwrite::Refuse).unwrap() {
        let name = file.path.file_name().unwrap();
        let equal = fs::read(committed.join(name)).unwrap() == fs::read(&file.path).unwrap();
        assert!(equal, "{name:?} differs; run `cargo run --bin generate -- --force` if the change is meant");
        total += file.bytes;
    }
    assert!(total < 2_000_000, "{total} bytes are too many to commit");

    let loaded = Loader::default().folder(&committed).unwrap();
    assert_eq!(loaded.train.examples(), made.train);
    assert_eq!(loaded.dev.examples(), made.dev);
    assert_eq!(loaded.test.unwrap().examples(), made.test);
    assert_eq!(propose(loaded.train.targets()).0, TargetUnits::Graphemes);
}
