//! How the process deals with memory that it has given back.

/// Gigabytes of a lane above which threads should [share] their memory: what a thread has of its own comes in pieces of 64 MB.
pub const SHARED_ABOVE: f64 = 0.03;

/// Asks the allocator of the C library to keep memory that is freed, in place of returning it to the system.
///
/// A training step allocates the same arrays again and again. Arrays above some 100 kB are by default mapped anew each time, and
/// every page of them is faulted in and cleared by the system: a quarter of the time of a step on a text of 100,000 graphemes.
/// The price is that the process stays as large as it was at its peak. Every thread has memory of its own, which is in the
/// cache of its core: two threads of a training take 1.86 times as many steps as one, where they share memory 1.76. To be
/// called first in `main`; does nothing where the C library is not glibc.
pub fn keep() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // -1 is the largest size there is. The largest integer would still return what is above 2 GB after every step, and a step on a
    // million graphemes, which takes 5.6 GB, would take half as long again.
    for option in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        set(option, -1);
    }
}

/// Lets all threads that are started from now on share their memory: that of another than the main thread is returned to the
/// system in large pieces whatever [`keep`] asks for, so arrays of megabytes are better off together.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    set(libc::M_ARENA_MAX, 1);
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set(option: i32, value: i32) {
    // SAFETY: mallopt takes two integers, locks the arena itself, and says by its result that it cannot do something.
    // That is no harm here: everything works with the usual allocator.
    #[allow(unsafe_code)]
    unsafe {
        libc::mallopt(option, value);
    }
}
