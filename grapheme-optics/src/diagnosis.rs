//! What the figures of a run say, in words.
//!
//! [`diagnose`] looks at the energy a row at each boundary over the steps and at what the media did, and gives
//! [`Verdict`]s: where gradients fade, grow, are dead, bend or cancel, since which step, and which setting to change. A run
//! without any complaint gets an empty list. Every rule has a planted case in `tests/laws/diagnosis.rs`.

use grapheme_core::BoundaryFigures;
use serde::Serialize;
use std::fmt;

/// One layer between two boundaries whose energies differ by more than this factor is worth a word.
pub const STEEP: f64 = 100.0;
/// The spread of energies over all boundaries from which a network counts as vanishing or exploding.
pub const SPREAD: f64 = 1e6;

/// The figures of one step, from the first boundary to the last.
pub type Step<'a> = (u64, &'a [BoundaryFigures]);

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Complaint {
    /// No gradient reaches a boundary at all.
    Dead,
    /// The energy falls by orders of magnitude on the way down.
    Vanishing,
    /// It grows by orders of magnitude on the way down.
    Exploding,
    /// One layer alone swallows it.
    Fades,
    /// One layer alone multiplies it.
    Amplifies,
    /// A medium or gate lets next to nothing through.
    Closed,
    /// Routes that meet cancel each other.
    Conflict,
    /// Most of what is bent is reflected.
    Reflects,
    /// Rays are turned far.
    Bends,
    /// A figure is not a number.
    NotFinite,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// What.
    pub complaint: Complaint,
    /// The boundary, or that nearest to the input of those meant.
    pub boundary: usize,
    /// The layer that is meant, by name.
    pub layer: String,
    /// Since which step.
    pub since: u64,
    /// The figure that shows it.
    pub figure: f64,
    /// What to do.
    pub advice: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layer, figure) = (&self.layer, self.figure);
        match self.complaint {
            Complaint::Dead => write!(f, "dead: no gradient reaches {layer}")?,
            Complaint::Vanishing => {
                write!(f, "vanishing: the energy a row falls by {figure:.1e} on its way to {layer}")?
            }
            Complaint::Exploding => {
                write!(f, "exploding: the energy a row grows by {figure:.1e} on its way to {layer}")?
            }
            Complaint::Fades => write!(f, "fades: {layer} passes {figure:.1e} of the energy")?,
            Complaint::Amplifies => write!(f, "amplifies: {layer} multiplies the energy by {figure:.1e}")?,
            Complaint::Closed => write!(f, "closed: the medium above {layer} passes {figure:.1e} of the energy")?,
            Complaint::Conflict => write!(f, "conflict: routes that meet above {layer} cancel, coherence {figure:.2}")?,
            Complaint::Reflects => write!(f, "reflects: {:.0}% of the energy never reaches {layer}", 100.0 * figure)?,
            Complaint::Bends => {
                write!(f, "bends: rays are turned by {:.0} degrees above {layer}", figure.to_degrees())?
            }
            Complaint::NotFinite => write!(f, "not finite: the energy above {layer} is no number")?,
        }
        write!(f, ", at boundary {}, since step {}. {}", self.boundary, self.since, self.advice)
    }
}

/// Judges a run by its telemetry; `layers` are the names of the network's layers. What counts is the second half of the
/// steps, in medians, so that neither the start nor a single step is taken for the run. `O(steps x boundaries)`.
pub fn diagnose(steps: &[Step<'_>], layers: &[String]) -> Vec<Verdict> {
    let Some((_, last)) = steps.last() else { return Vec::new() };
    let boundaries = last.len();
    let steps: Vec<Step<'_>> = steps.iter().filter(|(_, figures)| figures.len() == boundaries).copied().collect();
    let mut found = Vec::new();
    let name = |layer: usize| layers.get(layer).cloned().unwrap_or_else(|| format!("layer {layer}"));
    let mut say = |complaint, boundary: usize, layer: usize, since, figure, advice: &str| {
        found.push(Verdict { complaint, boundary, layer: name(layer), since, figure, advice: advice.to_owned() });
    };
    let arrives = |f: &BoundaryFigures| per_row(f.energy_in, f);
    let leaves = |f: &BoundaryFigures| per_row(f.energy_out + f.quadrature, f);
    for b in 0..boundaries {
        let at =
            |value: &dyn Fn(&BoundaryFigures) -> f64| -> Series { Series::of(&steps, |figures| value(&figures[b])) };
        let came = at(&arrives);
        if let Some(&(since, _)) = came.0.iter().find(|(_, energy)| !energy.is_finite()) {
            say(Complaint::NotFinite, b, b, since, f64::NAN, "Lower --rate, or set an energy_band.");
            continue;
        }
        if came.0.iter().all(|&(_, energy)| energy == 0.0) {
            // The highest dead boundary is the cause of those below.
            if b + 1 == boundaries
                || !Series::of(&steps, |figures| leaves(&figures[b + 1])).0.iter().all(|s| s.1 == 0.0)
            {
                let advice = "Look for a closed layer above it, or add a guide past it.";
                say(Complaint::Dead, b, b, steps[0].0, 0.0, advice);
            }
            continue;
        }
        let passes = at(&|f| if f.energy_in > 0.0 { (f.energy_out + f.quadrature) / f.energy_in } else { 1.0 });
        let banded = at(&|f| f.gained.abs()).median() > 0.0;
        if !banded && passes.median() < 1.0 / STEEP {
            let advice = match last[b].gate {
                Some(_) => "The gate closed: lower gates.rate, or give gates.penalty a band.",
                None => "Raise its transparency, or lower its absorption.",
            };
            say(Complaint::Closed, b, b, passes.since(|share| share < 1.0 / STEEP), passes.median(), advice);
        }
        let reflected = at(&|f| if f.energy_in > 0.0 { f.reflected / f.energy_in } else { 0.0 });
        if reflected.median() > 0.5 {
            let advice = "Bring the indices of its two layers nearer to each other.";
            say(Complaint::Reflects, b, b, reflected.since(|share| share > 0.5), reflected.median(), advice);
        }
        let angle = at(&|f| f.angle_mean);
        if angle.median() > std::f64::consts::FRAC_PI_4 {
            let advice = "Bring the indices of its two layers nearer to each other.";
            say(Complaint::Bends, b, b, angle.since(|a| a > std::f64::consts::FRAC_PI_4), angle.median(), advice);
        }
        if last[b].coherence.is_some() {
            let coherence = at(&|f| f.coherence.unwrap_or(1.0));
            if coherence.median() < 0.1 {
                let advice = "Two routes work against each other: shift one by a phase, or close its guide.";
                say(Complaint::Conflict, b, b, coherence.since(|c| c < 0.1), coherence.median(), advice);
            }
        }
        // Layer b + 1 lies between this boundary and the next. A morph changes the rows, but not by such factors. The loss tells
        // the gates of the last morph besides, below the last boundary: that energy no layer made.
        if b + 1 < boundaries {
            let gain = Series::of(&steps, |figures| {
                let above = leaves(&figures[b + 1]);
                if above > 0.0 { arrives(&figures[b]) / above } else { 1.0 }
            });
            if gain.median() < 1.0 / STEEP {
                let advice = "Give it a residual connection, a guide past it, or an energy_band below it.";
                say(Complaint::Fades, b, b + 1, gain.since(|g| g < 1.0 / STEEP), gain.median(), advice);
            } else if gain.median() > STEEP && b + 2 < boundaries {
                let advice = "Set an energy_band below it, or a layer of less transparency.";
                say(Complaint::Amplifies, b, b + 1, gain.since(|g| g > STEEP), gain.median(), advice);
            }
        }
    }
    // From the boundary below the last morph, where all that the loss says has come together.
    if boundaries > 2 {
        let way = Series::of(&steps, |figures| {
            let above = leaves(&figures[boundaries - 2]);
            if above > 0.0 { arrives(&figures[0]) / above } else { 1.0 }
        });
        let median = way.median();
        if median > 0.0 && median < 1.0 / SPREAD {
            let advice = "Set an energy_band, add guides, or use rounds with residual connections.";
            say(Complaint::Vanishing, 0, 0, way.since(|w| w < 1.0 / SPREAD), 1.0 / median, advice);
        } else if median > SPREAD {
            say(Complaint::Exploding, 0, 0, way.since(|w| w > SPREAD), median, "Set an energy_band, or lower --rate.");
        }
    }
    found
}

/// Mean energy a row.
fn per_row(energy: f64, figures: &BoundaryFigures) -> f64 {
    energy / figures.rows.max(1) as f64
}

/// One figure over the steps.
struct Series(Vec<(u64, f64)>);

impl Series {
    fn of(steps: &[Step<'_>], value: impl Fn(&[BoundaryFigures]) -> f64) -> Self {
        Self(steps.iter().map(|(step, figures)| (*step, value(figures))).collect())
    }

    /// The median over the second half.
    fn median(&self) -> f64 {
        let mut late: Vec<f64> = self.0[self.0.len() / 2..].iter().map(|&(_, value)| value).collect();
        late.sort_by(f64::total_cmp);
        late.get(late.len() / 2).copied().unwrap_or(0.0)
    }

    /// The first step from which most steps are bad: where the run of bad ones that reaches the end, with one good step in
    /// four forgiven, begins.
    fn since(&self, bad: impl Fn(f64) -> bool) -> u64 {
        let (mut since, mut total, mut hits) = (self.0.last().map_or(0, |s| s.0), 0u32, 0u32);
        for &(step, value) in self.0.iter().rev() {
            total += 1;
            if bad(value) {
                hits += 1;
                if 4 * hits >= 3 * total {
                    since = step;
                }
            }
        }
        since
    }
}
