//! What holds of all generated data.

use super::expr::Expr;
use super::*;
use std::collections::BTreeMap;
use unicode_normalization::is_nfc;

fn small(tasks: Vec<Task>) -> Plan {
    Plan { tasks, train: 40, dev: 10, test: 10, ..Plan::default() }
}

fn all(made: &Generated) -> impl Iterator<Item = &Example> {
    made.train.iter().chain(&made.dev).chain(&made.test)
}

#[test]
fn splits_share_no_input_and_are_balanced() {
    let plan = Plan::default();
    let made = plan.generate().unwrap();
    for (split, size) in [(&made.train, plan.train), (&made.dev, plan.dev), (&made.test, plan.test)] {
        let mut counts = BTreeMap::new();
        for example in split {
            let (task, _) = example.id.as_ref().unwrap().rsplit_once('-').unwrap();
            *counts.entry((example.level, task)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), plan.tasks.len());
        assert!(counts.values().all(|&count| count == size), "{counts:?}");
        let found: BTreeSet<_> = split[..plan.tasks.len()].iter().map(|example| &example.id).collect();
        assert_eq!(found.len(), plan.tasks.len(), "the start of a split is not balanced");
    }
    let inputs: BTreeSet<_> = all(&made).map(|example| &example.input).collect();
    assert_eq!(inputs.len(), all(&made).count(), "an input occurs twice");
    let ids: BTreeSet<_> = all(&made).map(|example| &example.id).collect();
    assert_eq!(ids.len(), inputs.len(), "a name occurs twice");
}

#[test]
fn many_seeds_are_accepted_by_the_judge() {
    for seed in 2..12 {
        for notation in [Notation::Plain, Notation::Prefix] {
            let pairs = Pair::ALL.map(|pair| Task::Pair(pair, notation));
            // Plain pairs of different tasks may meet in an input, which the plan then draws anew.
            let plan = Plan { seed, ..small([&Level::ALL.map(Task::Level)[..], &pairs[..]].concat()) };
            plan.generate().unwrap();
        }
    }
}

#[test]
fn seeds_differ_and_more_training_data_leaves_dev_and_test_alone() {
    let plan = small(vec![Task::Level(Level::Operation), Task::Pair(Pair::DropLast, Notation::Plain)]);
    let made = plan.generate().unwrap();
    assert_eq!(plan.generate().unwrap(), made);
    let more = Plan { train: 200, ..plan.clone() }.generate().unwrap();
    assert_eq!((&more.dev, &more.test, &more.train[..80]), (&made.dev, &made.test, &made.train[..]));
    let other = Plan { seed: 2, ..plan }.generate().unwrap();
    assert!(other.train.iter().zip(&made.train).filter(|(a, b)| a.input == b.input).count() < 8);
}

#[test]
fn a_task_without_enough_inputs_says_so() {
    // There are 3 million operations; asking a thousand times for the only one left is enough to give up.
    let mut inputs = BTreeSet::new();
    let plan = Plan { tasks: vec![Task::Level(Level::Operation)], ..Plan::default() };
    let mut stream = Stream::new(plan.seed).fork(1).fork(0).fork(0);
    for _ in 0..Plan::ATTEMPTS {
        inputs.insert(Level::Operation.draw_input(&mut stream));
    }
    let error = plan.split("train", 0, 1, &mut inputs).unwrap_err();
    assert_eq!(error, GenerateError::Exhausted { task: "level-1".into(), split: "train", found: 0 });
}

impl Level {
    fn draw_input(self, stream: &mut Stream) -> String {
        Task::Level(self).draw(stream).expect("level 1 has no bad draw").input
    }
}

/// Lists within each other.
fn depth(expr: &Expr) -> usize {
    match expr {
        Expr::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[test]
fn every_level_asks_for_what_its_name_says() {
    let levels = Level::ALL.map(Task::Level).to_vec();
    let made = Plan { train: 300, ..small(levels) }.generate().unwrap();
    let mut fractions = 0;
    for Example { level, input, target, .. } in all(&made) {
        let question = Expr::parse(input).unwrap();
        assert_eq!(&question.to_string(), input, "the notation is not canonical");
        assert_eq!(&Expr::parse(target).unwrap().to_string(), target, "the notation is not canonical");
        let (head, arguments) = question.as_call().unwrap();
        let fits = match level {
            Some(1) => depth(&question) == 1 && arguments.len() == 2,
            Some(2) => (2..=3).contains(&depth(&question)) && !input.contains("let"),
            Some(3) => head == "let" && !input.contains("lambda"),
            Some(4) => input.contains("lambda") || ["max", "min", "abs", "gcd"].contains(&head),
            Some(5) => head == "diff",
            Some(6) => head == "int",
            Some(7) => head == "solve",
            _ => false,
        };
        assert!(fits, "level {level:?}: {input}");
        fractions += usize::from(target.contains('/'));
    }
    assert!(fractions > 100, "only {fractions} fractions among the answers");
}

#[test]
fn pairs_come_in_every_script_and_both_notations() {
    for (notation, first) in [(Notation::Plain, ""), (Notation::Prefix, "(reverse ")] {
        let made = small(vec![Task::Pair(Pair::Reverse, notation)]).generate().unwrap();
        let text: String = all(&made).map(|example| example.input.as_str()).collect();
        for sample in ['a'..='z', '0'..='9', 'α'..='ω', 'а'..='я', '가'..='힣', 'क'..='ह', '\u{1F300}'..='\u{1FAFF}']
        {
            assert!(text.chars().any(|c| sample.contains(&c)), "nothing of {sample:?}");
        }
        assert!(is_nfc(&text));
        assert!(all(&made).all(|example| example.input.starts_with(first) && example.level == Some(0)));
    }
}
