//! A model trained and used from code: numbers in Roman letters to numbers in digits, from a generator of its own.

use grapheme_train::data::BadLines;
use grapheme_train::event::Event;
use grapheme_train::job::{self, Existing};
use grapheme_train::lanes::Lanes;
use grapheme_train::prepare::{Source, Wishes, prepare_members};
use grapheme_train::settings::Preset;

/// The generator: `n` in Roman letters.
fn roman(mut n: usize) -> String {
    const LETTERS: [(usize, &str); 9] =
        [(100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")];
    let mut text = String::new();
    for (value, letters) in LETTERS {
        text += &letters.repeat(n / value);
        n %= value;
    }
    text
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, keep: &dyn Fn(usize) -> bool| -> anyhow::Result<_> {
        let rows: String = (1..400).filter(|&n| keep(n)).map(|n| format!("{}\t{n}\n", roman(n))).collect();
        let path = folder.path().join(name);
        std::fs::write(&path, rows)?;
        Ok(path)
    };
    // Every seventh number is never seen in training.
    let source = Source::Files { train: file("train.tsv", &|n| n % 7 != 0)?, dev: file("dev.tsv", &|n| n % 7 == 0)? };
    let seed = 1;
    let wishes = Wishes { preset: Preset::Tiny, epochs: Some(40), ..Wishes::default() };
    let members = prepare_members(&source, BadLines::Stop, wishes, seed, 1)?;
    let out = folder.path().join("run");
    let jobs = job::begin(&out, members, Existing::Refuse)?;
    job::train(&jobs, 0, &mut Vec::<Event>::new(), |_, _| {})?;
    let lanes = Lanes::new(0)?;
    let model = job::calibrate(&out, &jobs, &lanes)?;
    for answer in model.read(&[roman(154), roman(343)], 1, &lanes)? {
        println!("{} ({:.2})", answer.text(), answer.proposals[0].confidence);
    }
    let wrong = model.evaluate(jobs[0].prepared.dev.examples(), &lanes)?.score.figures().wer;
    println!("word error rate of unseen numbers {wrong:.1}%");
    anyhow::ensure!(wrong < 10.0, "Roman numbers were not learned");
    Ok(())
}
