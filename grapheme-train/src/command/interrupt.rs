//! Ctrl-C as a wish that a job hears between two of its steps.

use crate::output::Interrupted;
use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// While it lives, the first Ctrl-C (or `SIGTERM`) is only noted, and the second ends the process at once. It is for jobs that keep
/// what they have done; all others end by the first, as the system has it.
pub struct Interrupt {
    /// The signal, 0 before there was one.
    heard: Arc<AtomicUsize>,
    /// Whether the next signal ends the process.
    armed: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens from now on. To be called once in a process: what it registers stays.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn listen() -> Result<Self> {
        let (heard, armed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGINT, SIGTERM] {
            // In this order, in which they are called: the first signal finds it unarmed, and arms it.
            flag::register_conditional_shutdown(signal, 128 + signal, armed.clone())
                .and_then(|_| flag::register(signal, armed.clone()))
                .and_then(|_| flag::register_usize(signal, heard.clone(), signal as usize))
                .context("cannot listen for Ctrl-C")?;
        }
        Ok(Self { heard, armed })
    }

    /// Whether there was a signal.
    pub fn heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed) != 0
    }

    /// The same, for a job that asks on its own.
    pub fn asked(&self) -> impl Fn() -> bool + Send + 'static {
        let heard = self.heard.clone();
        move || heard.load(Ordering::Relaxed) != 0
    }

    /// How a job ends that has heard it: what is kept, and how to go on.
    pub fn stopped(&self, kept: impl Into<String>) -> anyhow::Error {
        Interrupted { signal: self.heard.load(Ordering::Relaxed) as u8, kept: kept.into() }.into()
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.armed.store(true, Ordering::Relaxed);
    }
}
