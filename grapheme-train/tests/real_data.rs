//! Real files, where the environment says they are: `GRAPHEME_DATA` names a folder with `g2p` and `segment`.

use grapheme_train::data::{LabelInventory, Loader, Split, TargetUnits, join, propose, segment};
use std::path::{Path, PathBuf};

/// Loads a file without leave to skip anything, and checks what must hold of every pair.
fn load(path: PathBuf, units: TargetUnits, examples: usize) -> Split {
    let loader = Loader::default();
    let split = loader.file(&path).and_then(|split| loader.check_units(split, units)).unwrap();
    assert_eq!(split.examples().len(), examples, "{}", path.display());
    // Tokens can be labels as they are or in parts; either way the text comes back to the byte.
    let either = if units == TargetUnits::Tokens { &[TargetUnits::Tokens, TargetUnits::Parts][..] } else { &[units] };
    for (target, &units) in split.targets().flat_map(|target| either.iter().map(move |units| (target, units))) {
        assert_eq!(join(&segment(target, units), units), target, "{}", path.display());
    }
    split
}

fn check(folder: &Path, name: &str, units: TargetUnits, train: usize, dev: usize) {
    let train = load(folder.join(format!("{name}_train.tsv")), units, train);
    load(folder.join(format!("{name}_dev.tsv")), units, dev);
    let (proposed, sentence) = propose(train.targets());
    assert_eq!(proposed, units, "{name}: {sentence}");
    let labels = LabelInventory::of(train.targets(), units);
    println!("{name}: {} symbols. {sentence}", labels.symbols().len());
}

#[test]
fn real_files_load_and_their_units_are_proposed() {
    let Some(root) = std::env::var_os("GRAPHEME_DATA").map(PathBuf::from) else {
        println!("skipped: GRAPHEME_DATA is not set");
        return;
    };
    let languages =
        ["ady", "arm", "bul", "dut", "fre", "geo", "gre", "hin", "hun", "ice", "jpn", "kor", "lit", "rum", "vie"];
    for language in languages {
        check(&root.join("g2p"), language, TargetUnits::Tokens, 3600, 450);
    }
    check(&root.join("segment"), "ces", TargetUnits::Graphemes, 30694, 4000);
}
