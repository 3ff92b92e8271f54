//! How far a job is.

use crate::output::tell;
use crate::screen::{SILENCE, left};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use std::io::{self, IsTerminal, Read};
use std::sync::Mutex;
use std::time::Instant;

/// How far a job is whose parts can be counted: a bar on standard error where that is a terminal; elsewhere a line wherever nothing
/// was told for ten seconds. Both say how long the parts that are left will take if they go like those that were done. Threads may share it.
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

/// How far standard input is answered, line by line: a bar on standard error where that is a terminal, unless the answers appear on one
/// as well; elsewhere a line now and then. How long the rest takes is said where the input is a file.
pub struct StreamProgress {
    bar: ProgressBar,
    lines: u64,
    started: Instant,
    told: Instant,
}

impl StreamProgress {
    /// Before the first line.
    pub fn of_standard_input() -> Self {
        // The length of the input is known where it is a file, and where the system gives it this name.
        let file = std::fs::metadata("/dev/stdin").ok().filter(|input| input.is_file());
        let (bar, template) = match file {
            Some(file) => (ProgressBar::new(file.len()), "{bar:30} {bytes}/{total_bytes}  {msg}  {eta} left"),
            None => (ProgressBar::no_length(), "{spinner} {bytes}  {msg}"),
        };
        if io::stdout().is_terminal() || io::stdin().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let bar =
            bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        let now = Instant::now();
        Self { bar, lines: 0, started: now, told: now }
    }

    /// The input, whose bytes are counted as they are read.
    pub fn count<R: Read>(&self, input: R) -> impl Read + use<R> {
        self.bar.wrap_read(input)
    }

    /// Counts lines. Plain lines tell of them only where there are many, as the `full` chunk of them shows: whoever waits
    /// for each answer knows how many there were.
    pub fn answered(&mut self, lines: usize, full: bool) {
        self.lines += lines as u64;
        if !self.bar.is_hidden() {
            self.bar.set_message(self.rate());
        } else if full && !io::stderr().is_terminal() && self.told.elapsed() >= SILENCE {
            tell(&self.so_far());
            self.told = Instant::now();
        }
    }

    fn rate(&self) -> String {
        let rate = self.lines as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
        format!("{} lines  {rate:.0} lines/s", self.lines)
    }

    /// The rate, and how long what is left takes where that is known: a part of the last bytes that were read waits for its answer.
    fn so_far(&self) -> String {
        let done = self.bar.position();
        let to_come = self.bar.length().map(|length| length.saturating_sub(done));
        let left = to_come.map(|to_come| left(self.started.elapsed(), done, to_come));
        left.map_or(self.rate(), |left| format!("{}  {left}", self.rate()))
    }

    /// A line above the bar.
    pub fn tell(&self, line: &str) {
        self.bar.suspend(|| tell(line));
    }
}

impl Drop for StreamProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
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

    #[test]
    fn what_is_left_of_a_file_is_said_and_of_a_stream_is_not_known() {
        let Some(started) = Instant::now().checked_sub(Duration::from_secs(100)) else { return };
        let of = |bar: ProgressBar| {
            bar.set_position(1000);
            StreamProgress { bar, lines: 500, started, told: started }.so_far()
        };
        assert_eq!(of(ProgressBar::new(7000)), "500 lines  5 lines/s  10 min left");
        assert_eq!(of(ProgressBar::no_length()), "500 lines  5 lines/s");
        // A file to which somebody adds while it is read.
        assert_eq!(of(ProgressBar::new(900)), "500 lines  5 lines/s  0 s left");
    }
}
