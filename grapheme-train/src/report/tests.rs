use super::*;

fn judged<'a>(input: &'a str, predicted: &'a str, target: &'a str) -> Judged<'a> {
    Judged { input, predicted, target, level: None, probability: None }
}

fn confusion(predicted: Option<&str>, target: Option<&str>, count: usize, examples: &[&str]) -> Confusion {
    Confusion {
        predicted: predicted.map(str::to_owned),
        target: target.map(str::to_owned),
        count,
        examples: examples.iter().map(|&text| text.to_owned()).collect(),
    }
}

#[test]
fn confusions_are_counted_over_the_minimal_alignments() {
    let report = ErrorReport::of(
        &[
            judged("one", "a k b", "a t b"), // k for t
            judged("two", "k k", "t t"),     // twice
            judged("three", "a", "a n"),     // n is missing
            judged("four", "a x", "a"),      // x is too many
            judged("five", "a", "a"),
        ],
        TargetUnits::Tokens,
    );
    let expected = [
        confusion(Some("k"), Some("t"), 3, &["one", "two"]),
        confusion(None, Some("n"), 1, &["three"]),
        confusion(Some("x"), None, 1, &["four"]),
    ];
    assert_eq!(report.confusions, expected);
    assert_eq!((report.figures.n, report.figures.exact), (5, 20.0));
}

#[test]
fn the_worst_are_those_with_most_edits_and_the_most_confident_those_most_probable() {
    let with = |judged: Judged<'static>, probability| Judged { probability: Some(probability), ..judged };
    let rows = [
        with(judged("a", "x y", "a b"), 0.2),
        with(judged("b", "x", "a"), 0.9),
        with(judged("c", "a", "a"), 0.99),
        with(judged("d", "x y z", "a b c"), 0.5),
    ];
    let report = ErrorReport::of(&rows, TargetUnits::Tokens);
    let inputs = |wrong: &[Wrong]| wrong.iter().map(|w| (w.input.clone(), w.edits)).collect::<Vec<_>>();
    let named = |names: [(&str, usize); 3]| names.map(|(name, edits)| (name.to_owned(), edits)).to_vec();
    assert_eq!(inputs(&report.worst), named([("d", 3), ("a", 2), ("b", 1)]));
    assert_eq!(inputs(&report.most_confident), named([("b", 1), ("d", 3), ("a", 2)]));

    let many: Vec<String> = (0..50).map(|i| i.to_string()).collect();
    let rows: Vec<Judged<'_>> = many.iter().map(|text| judged(text, text, "")).collect();
    let report = ErrorReport::of(&rows, TargetUnits::Graphemes);
    assert_eq!((report.worst.len(), report.most_confident.len()), (ErrorReport::WORST, 0));
}

#[test]
fn lengths_are_graphemes_and_every_example_is_in_one_row() {
    let long = "x".repeat(60);
    let inputs = ["", "e\u{301}", "ab", "abc", "abcd", &long];
    let rows: Vec<Judged<'_>> = inputs.iter().map(|input| judged(input, "a", "a")).collect();
    let report = ErrorReport::of(&rows, TargetUnits::Graphemes);
    let found: Vec<_> = report.by_length.iter().map(|(lengths, figures)| (lengths.clone(), figures.n)).collect();
    assert_eq!(found, [(0..=0, 1), (1..=2, 2), (3..=4, 2), (51..=usize::MAX, 1)]);
}

#[test]
fn levels_are_told_apart_where_there_are_any() {
    let level = |level, predicted| Judged { level: Some(level), ..judged("q", predicted, "1") };
    let report = ErrorReport::of(&[level(2, "1"), level(1, "1"), level(2, "0"), level(2, "0")], TargetUnits::Graphemes);
    let found: Vec<_> = report.by_level.iter().map(|(level, figures)| (*level, figures.n, figures.exact)).collect();
    assert_eq!(found, [(1, 1, 100.0), (2, 3, 100.0 / 3.0)]);
    assert_eq!(ErrorReport::of(&[judged("q", "1", "1")], TargetUnits::Graphemes).by_level, []);
}

#[test]
fn errors_in_diacritics_are_told_from_others_and_single_ones_from_several() {
    let report = ErrorReport::of(
        &[
            judged("a", "e t", "eː t"), // one length mark
            judged("b", "ê", "e"),      // one mark
            judged("c", "ẽː", "e"),     // two
            judged("d", "é", "è"),      // one mark for another: one edit
            judged("e", "eː a", "e o"), // also a letter
            judged("f", "e", "e"),      // right
        ],
        TargetUnits::Tokens,
    );
    assert_eq!(report.diacritics, DiacriticErrors { wrong: 5, in_diacritics: 4, in_one: 3 });
}

#[test]
fn the_document_holds_every_figure() {
    let rows = [
        Judged { level: Some(3), probability: Some(0.875), ..judged("va|se", "v a s", "v aː z") },
        Judged { level: Some(3), probability: Some(0.5), ..judged("to", "t o", "t o") },
        Judged { level: Some(3), probability: Some(0.25), ..judged("no", "n o", "n oː") },
    ];
    let written = ErrorReport::of(&rows, TargetUnits::Tokens).markdown("Errors of *run*");
    for part in [
        "# Errors of \\*run\\*\n",
        "3 examples, 33.33% exactly right: word error rate 66.67, token error rate 42.86, F1 of tokens 57.14.",
        "Of 2 wrong texts, 1 (50.0%) are right once",
        "| 3     |        3 |   33.33 | 42.86 | 57.14 |",
        "| 1 to 2    |        2 |   50.00 | 25.00 | 75.00 |",
        "|     1 | aː        | a   | va\\|se |",
        "|     2 |   87.5 | va\\|se | v aː z    | v a s |",
    ] {
        assert!(written.contains(part), "{part:?} is not in:\n{written}");
    }
    let right = ErrorReport::of(&rows[1..2], TargetUnits::Tokens).markdown("t");
    assert!(!right.contains("Confusions") && !right.contains("wrong texts"), "{right}");
}
