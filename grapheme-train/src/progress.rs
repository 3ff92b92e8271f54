//! How far a job is whose parts can be counted.

use crate::output::tell;
use crate::screen::{SILENCE, left};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use std::sync::Mutex;
use std::time::Instant;

/// A bar on standard error where that is a terminal; elsewhere a line wherever nothing was told for ten seconds. Both say how long
/// the parts that are left will take if they go like those that were done. Threads may share it.
///
/// ```
/// use grapheme_train::progress::Progress;
///
/// let progress = Progress::new(3, "pairs");
/// for name in ["abc", "abd", "abe"] {
///     progress.name(name);
///     progress.advance(1);
/// }
/// progress.tell("the last was the best"); // at once, and elsewhere than on a terminal with  3/3 pairs, 0 s left
/// ```
pub struct Progress {
    bar: ProgressBar,
    parts: &'static str,
    begun: Instant,
    /// Parts that another process had done before.
    before: u64,
    told: Mutex<Instant>,
}

impl Progress {
    /// Before the first of `total` parts; people call them `parts`.
    pub fn new(total: u64, parts: &'static str) -> Self {
        Self::resumed(0, total, parts)
    }

    /// The same where `before` of them were done by another process, whose time is not known.
    pub fn resumed(before: u64, total: u64, parts: &'static str) -> Self {
        let style = ProgressStyle::with_template(&format!("{{bar:30}} {{pos}}/{{len}} {parts}  {{msg}}  {{eta}} left"));
        let bar = ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        // However the job ends, what is said next begins on a line of its own.
        let bar = bar.with_finish(ProgressFinish::AndClear);
        bar.set_position(before);
        bar.reset_eta();
        let now = Instant::now();
        Self { bar, parts, begun: now, before, told: Mutex::new(now) }
    }

    /// What is being done from now on.
    pub fn name(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// Counts parts that are done.
    pub fn advance(&self, parts: u64) {
        self.bar.inc(parts);
        if !self.bar.is_hidden() {
            return;
        }
        // Whoever does not get the lock leaves the line to who has it.
        if let Some(mut told) = self.told.try_lock().ok().filter(|told| told.elapsed() >= SILENCE) {
            *told = Instant::now();
            let what = self.bar.message();
            tell(&if what.is_empty() { self.so_far() } else { format!("{what}: {}", self.so_far()) });
        }
    }

    /// Tells a line at once: above the bar, or with the count behind it where there is no bar.
    pub fn tell(&self, line: &str) {
        if self.bar.is_hidden() {
            tell(&format!("{line}; {}", self.so_far()));
            if let Ok(mut told) = self.told.lock() {
                *told = Instant::now();
            }
        } else {
            self.bar.suspend(|| tell(line));
        }
    }

    /// The count, and how long what is left takes once something is known of that.
    fn so_far(&self) -> String {
        let (at, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
        let (done, to_come) = (at.saturating_sub(self.before), total.saturating_sub(at));
        let left = if done > 0 { ", ".to_owned() + &left(self.begun.elapsed(), done, to_come) } else { String::new() };
        format!("{at}/{total} {}{left}", self.parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_left_is_said_once_it_can_be_known() {
        let Some(begun) = Instant::now().checked_sub(Duration::from_secs(60)) else { return };
        let progress = |before| Progress { begun, ..Progress::resumed(before, 1010, "pairs") };
        assert_eq!(progress(0).so_far(), "0/1010 pairs");
        let (fresh, resumed) = (progress(0), progress(900));
        assert_eq!(resumed.so_far(), "900/1010 pairs");
        [&fresh, &resumed].into_iter().for_each(|progress| progress.advance(10));
        // Ten parts a minute: what another process had done says nothing of that.
        assert_eq!(fresh.so_far(), "10/1010 pairs, 1.7 h left");
        assert_eq!(resumed.so_far(), "910/1010 pairs, 10 min left");
    }
}
