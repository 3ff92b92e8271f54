//! A cost of your own between two texts, and its gradient: the soft edit distance with a learned price for each kind of
//! change.
//!
//! The cost of matching two letters is 0 where they are equal, `prices[0]` where one is the other with an accent,
//! `prices[1]` otherwise; leaving a letter out or putting one in costs `prices[2]`.

use grapheme_core::Kept;
use grapheme_core::check::NumericGradient;
use grapheme_train::loss::align::{Aligner, Problem, Upstream};
use grapheme_train::loss::{Band, Banded, Monotone};

const PAIRS: [(&str, &str); 3] = [("resume", "résumé"), ("naive", "naïve"), ("colour", "color")];

/// Which price a match of two letters pays.
fn kind(a: char, b: char) -> Option<usize> {
    const ACCENTS: [(char, char); 3] = [('e', 'é'), ('i', 'ï'), ('u', 'ü')];
    (a != b).then(|| usize::from(!ACCENTS.contains(&(a, b)) && !ACCENTS.contains(&(b, a))))
}

/// The distance of all pairs, and its gradient with respect to the prices.
fn distance(prices: &[f64]) -> (f64, [f64; 3]) {
    let (mut value, mut dprices) = (0.0, [0.0; 3]);
    for (from, to) in PAIRS {
        let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
        let (n, m) = (from.len(), to.len());
        let band = Band::dense(n, m);
        let cost = Banded::from_fn(&band, |i, j| kind(from[i], to[j]).map_or(0.0, |kind| prices[kind]));
        let problem = Problem::new(cost, Kept::filled(n, prices[2]), Kept::filled(m, prices[2]), Kept::filled(n, 1.0))
            .expect("lengths fit");
        let aligner = Monotone { tau: 0.1 };
        let alignment = aligner.align(&problem);
        value += alignment.value;
        let gradient = aligner.vjp(&problem, &alignment, Upstream { value: 1.0, plan: None });
        for (i, &letter) in from.iter().enumerate() {
            for (j, dcost) in band.range(i).zip(gradient.cost.row(i)) {
                if let Some(kind) = kind(letter, to[j]) {
                    dprices[kind] += dcost;
                }
            }
        }
        dprices[2] += gradient.deletion.iter().chain(&gradient.insertion).sum::<f64>();
    }
    (value, dprices)
}

fn main() {
    let prices = [0.3, 1.0, 0.8];
    let (value, gradient) = distance(&prices);
    println!("distance {value:.4}; three accents, no other change, one letter left out: {gradient:.3?}");
    let report = NumericGradient::of_slice("prices", &prices, |prices| distance(prices).0).compare(1e-7, |_| &gradient);
    print!("{report}");
    assert!(report.passed());
}
