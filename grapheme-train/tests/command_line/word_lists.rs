//! What people put into word lists besides words, with a model that writes phones.

use crate::sandbox::Sandbox;
use std::collections::BTreeSet;
use std::fs;

/// Letters to phones, each a token.
const PHONES: [(&str, &str); 6] = [("a", "a"), ("b", "b"), ("c", "t͡s"), ("d", "d"), ("e", "ɛ"), ("sz", "s")];

/// What no phone sequence is known for: nothing, digits, emoji, other scripts, mixed, right to left, marks, spaces.
const STRANGE: [&str; 17] = [
    "",
    "1234",
    "٣٤٥",
    "😀",
    "👨‍👩‍👧🇭🇺",
    "abc😀de",
    "дом",
    "abдe",
    "aβ語ㄱ",
    "שלום",
    "مرحبا",
    "abשלום12",
    "e\u{301}\u{323}\u{301}",
    "\u{301}",
    " ",
    "a b  c",
    "\u{200F}\u{FEFF}\u{7}",
];

/// A sandbox in which `run` reads words of the letters above.
fn trained() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut pairs = String::new();
    for (a, x) in PHONES {
        for (b, y) in PHONES {
            for (c, z) in PHONES {
                pairs += &format!("{a}{b}{c}\t{x} {y} {z}\n");
            }
        }
    }
    sandbox.write("train.tsv", &pairs);
    // What is strange may stand among what is learned from.
    let strange: String = STRANGE.iter().map(|word| format!("{word}\ta b\n")).collect();
    sandbox.write("dev.tsv", strange + "abc\ta b t͡s\n");
    let data = ["--train=train.tsv", "--dev=dev.tsv", "--units=tokens", "--out=run", "--preset=tiny", "--epochs=3"];
    sandbox.run("train", &data).succeeds();
    sandbox
}

#[test]
fn every_word_has_its_row_whatever_it_is_made_of() {
    let sandbox = trained();
    let known: BTreeSet<&str> = PHONES.map(|(_, phone)| phone).into();
    for threads in ["1", "2"] {
        let said = sandbox.infer(&["--threads", threads], STRANGE.join("\n").as_bytes()).succeeds();
        assert_eq!(said.stderr, "");
        let rows: Vec<(&str, &str)> = said.stdout.lines().map(|row| row.split_once('\t').expect("a tab")).collect();
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), STRANGE);
        for (word, phones) in rows {
            // Phones that it was taught, or graphemes of the word itself, parted by single spaces.
            for token in phones.split(' ').filter(|_| !phones.is_empty()) {
                let copied = !token.is_empty() && word.contains(token);
                assert!(known.contains(token) || copied, "{word:?} gives {phones:?}");
            }
        }
    }
    for word in STRANGE {
        sandbox.run("infer", &["--run", "run", "--explain", "--", word]).succeeds();
    }
}

#[test]
fn a_target_that_cannot_be_reached_is_counted_in_evaluation_and_skipped_in_training() {
    let sandbox = trained();
    // A phone that training never saw, no phone at all, and more phones than any word of that length has slots for.
    let far = format!("abc\ta b ʘ\nabd\t\na\t{}\nabe\ta b ɛ\n", ["a"; 99].join(" "));
    sandbox.write("far.tsv", &far);
    let said = sandbox.run("evaluate", &["--run", "run", "--data", "far.tsv", "--predictions", "p.tsv"]).succeeds();
    assert!(said.stdout.contains("examples          4\n"), "{}", said.stdout);
    assert!(said.stdout.contains("out of reach      2: "), "{}", said.stdout);
    assert_eq!(fs::read_to_string(sandbox.path("p.tsv")).unwrap().lines().count(), 4);

    let train = fs::read_to_string(sandbox.path("train.tsv")).unwrap() + &far;
    sandbox.write("more.tsv", &train);
    let data = ["--train=more.tsv", "--dev=dev.tsv", "--units=tokens", "--out=more", "--preset=tiny", "--epochs=1"];
    let said = sandbox.run("train", &data).succeeds();
    let line = format!("in line {}", train.lines().count() - 1);
    said.tells(&["warning: more.tsv: 1 of 220 examples skipped", &line, "219 examples"]);
}
