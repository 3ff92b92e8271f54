//! Training as seen by a person.

use crate::event::{DevFigures, Event, Listener, StopReason};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// How long plain output may be silent between two steps that it tells.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// Shows training on standard error: a progress bar with loss and rate on a terminal; elsewhere (a pipe, a file, a dumb
/// terminal) plain lines without control characters. No colours at all, so `NO_COLOR` has nothing to switch off.
///
/// Only this listener has a clock; rates are graphemes trained on per second of the running epoch.
pub struct Screen {
    output: Output,
    epochs: u64,
    steps: u64,
    resumed_at: u64,
    graphemes: u64,
    rate: f64,
    clock: Instant,
    begun: Instant,
    told: Instant,
}

enum Output {
    Bar(ProgressBar),
    Lines(Box<dyn Write + Send>),
}

impl Screen {
    /// A bar where standard error is a terminal that can show one, lines elsewhere.
    pub fn new() -> Self {
        // However training ends, what is said next begins on a line of its own.
        let bar = ProgressBar::new(0).with_finish(ProgressFinish::AndClear);
        if bar.is_hidden() { Self::plain(io::stderr()) } else { Self::with(Output::Bar(bar.with_style(style()))) }
    }

    /// Plain lines to `writer`.
    pub fn plain(writer: impl Write + Send + 'static) -> Self {
        Self::with(Output::Lines(Box::new(writer)))
    }

    fn with(output: Output) -> Self {
        let now = Instant::now();
        let (epochs, steps, resumed_at) = (0, 0, 0);
        Self { output, epochs, steps, resumed_at, graphemes: 0, rate: 0.0, clock: now, begun: now, told: now }
    }

    /// Prints one line, above the bar if there is one. A screen that cannot be written to must not stop training.
    fn line(&mut self, text: &str) {
        match &mut self.output {
            Output::Bar(bar) => bar.println(text),
            Output::Lines(writer) => {
                let _ = writeln!(writer, "{text}").and_then(|()| writer.flush());
            }
        }
        self.told = Instant::now();
    }

    fn step(&mut self, epoch: u64, step: u64, loss: f64, graphemes: u64) {
        self.graphemes += graphemes;
        self.rate = per_second(self.graphemes, self.clock.elapsed());
        let text = format!("epoch {epoch}/{}  loss {loss:.4}  {:.0} graphemes/s", self.epochs, self.rate);
        match &self.output {
            Output::Bar(bar) => {
                bar.set_position(step);
                bar.set_message(text);
            }
            Output::Lines(_) if self.told.elapsed() >= SILENCE => {
                let (done, to_come) = (step.saturating_sub(self.resumed_at), self.steps.saturating_sub(step));
                let left = left(self.begun.elapsed(), done, to_come);
                self.line(&format!("step {step}/{}  {text}  {left}", self.steps))
            }
            Output::Lines(_) => {}
        }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}

impl Listener for Screen {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::Started { parameters, examples, epochs, steps, resumed_at } => {
                (self.epochs, self.steps, self.resumed_at) = (*epochs, *steps, *resumed_at);
                (self.graphemes, self.clock, self.begun) = (0, Instant::now(), Instant::now());
                if let Output::Bar(bar) = &self.output {
                    bar.set_length(*steps);
                    bar.set_position(*resumed_at);
                    bar.reset_eta();
                }
                let from = if *resumed_at > 0 { format!(", resumed at step {resumed_at}") } else { String::new() };
                self.line(&format!(
                    "{parameters} parameters, {examples} examples, {epochs} epochs of {steps} steps in all{from}"
                ));
            }
            Event::Step { epoch, step, loss, graphemes, .. } => self.step(*epoch, *step, *loss, *graphemes),
            Event::StepRefused { epoch, step, origin } => {
                self.line(&format!("epoch {epoch}/{}  step {step} not taken: {origin} is not finite", self.epochs))
            }
            Event::Epoch { epoch, loss, dev, .. } => {
                let (epochs, rate) = (self.epochs, self.rate);
                let dev = dev.as_ref().map(figures).unwrap_or_default();
                self.line(&format!("epoch {epoch}/{epochs}  loss {loss:.4}{dev}  {rate:.0} graphemes/s"));
                // The next epoch is timed from here, so that evaluation does not count.
                (self.graphemes, self.clock) = (0, Instant::now());
            }
            Event::Optics { .. } | Event::Nodes { .. } | Event::Checkpoint { .. } => {}
            Event::Warning { message } => self.line(&format!("warning: {message}")),
            Event::Finished { epochs, steps, reason } => {
                let reason = match reason {
                    StopReason::Complete => "all epochs done",
                    StopReason::EarlyStop => "stopped early: dev no longer improves",
                    StopReason::TimeOver => "stopped: the time is over",
                };
                self.line(&format!("{reason}, {epochs} epochs, {steps} steps"));
                if let Output::Bar(bar) = &self.output {
                    bar.finish_and_clear();
                }
            }
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn figures(dev: &DevFigures) -> String {
    format!("  dev loss {:.4}  WER {:.2}  TER {:.2}", dev.loss, dev.wer, dev.ter)
}

/// How long what is still to come takes, if it goes like what was done.
pub(crate) fn left(elapsed: Duration, done: u64, to_come: u64) -> String {
    duration(elapsed.as_secs_f64() * to_come as f64 / done.max(1) as f64) + " left"
}

/// A time as a person says it.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// Zero before the clock has ticked.
fn per_second(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::samples;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn plain_lines_tell_what_matters_without_control_characters() {
        let shared = Shared::default();
        let mut screen = Screen::plain(shared.clone());
        samples().iter().for_each(|event| screen.hear(event));
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 6, "a step within the silence and a checkpoint need no line: {text}");
        assert_eq!(lines[0], "7 parameters, 5 examples, 2 epochs of 4 steps in all");
        assert_eq!(lines[1], "warning: 4 examples skipped");
        assert_eq!(lines[2], "epoch 1/2  step 2 not taken: the output of layer `head` is not finite");
        assert!(lines[3].starts_with("epoch 1/2  loss 0.1111  dev loss 0.3333  WER 33.33  TER 9.50  "), "{}", lines[3]);
        assert!(lines[4].starts_with("epoch 2/2  loss 0.3000  "), "{}", lines[4]);
        assert_eq!(lines[5], "all epochs done, 2 epochs, 4 steps");
    }

    #[test]
    fn a_long_silence_ends_with_the_next_step() {
        let shared = Shared::default();
        let mut screen = Screen::plain(shared.clone());
        screen.hear(&samples()[2]);
        assert!(shared.0.lock().unwrap().is_empty());
        let Some(past) = Instant::now().checked_sub(SILENCE) else { return };
        screen.told = past;
        screen.hear(&samples()[2]);
        screen.hear(&samples()[2]);
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("step 1/0  epoch 1/0  loss 0.3333  ") && text.lines().count() == 1, "{text}");
        assert!(text.ends_with("  0 s left\n"), "{text}");
    }

    #[test]
    fn the_bar_follows_the_steps_from_where_the_run_was_resumed() {
        let bar = ProgressBar::hidden().with_style(style());
        let mut screen = Screen::with(Output::Bar(bar.clone()));
        screen.hear(&Event::Started { parameters: 7, examples: 5, epochs: 2, steps: 40, resumed_at: 20 });
        assert_eq!((bar.position(), bar.length()), (20, Some(40)));
        let (epoch, step, loss, learning_rate, gradient_norm, graphemes) = (2, 21, 0.5, 1e-3, 1.0, 9);
        screen.hear(&Event::Step { epoch, step, loss, learning_rate, gradient_norm, graphemes });
        assert_eq!(bar.position(), 21);
        assert!(bar.message().starts_with("epoch 2/2  loss 0.5000  "), "{}", bar.message());
        screen.hear(samples().last().unwrap());
        assert!(bar.is_finished());
    }

    #[test]
    fn what_is_left_goes_like_what_was_done() {
        assert_eq!(left(Duration::from_secs(30), 10, 20), "60 s left");
        assert_eq!(left(Duration::from_secs(30), 10, 200), "10 min left");
        assert_eq!(left(Duration::from_secs(30), 1, 200), "1.7 h left");
        assert_eq!(left(Duration::ZERO, 0, 200), "0 s left");
    }

    #[test]
    fn rates_are_counts_over_seconds() {
        assert_eq!(per_second(300, Duration::from_millis(1500)), 200.0);
        assert_eq!(per_second(300, Duration::ZERO), 0.0);
    }
}
