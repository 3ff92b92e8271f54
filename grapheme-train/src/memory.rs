//! How the process deals with memory that it has given back.

/// Asks the allocator of the C library to keep memory that is freed, in place of returning it to the system.
///
/// A training step allocates the same arrays again and again. Arrays above some 100 kB are by default mapped anew each time, and
/// every page of them is faulted in and cleared by the system: a quarter of the time of a step on a text of 100,000 graphemes.
/// The price is that the process stays as large as it was at its peak. All threads share one arena, as an arena of another
/// than the main thread maps large arrays whatever it is told. To be called first in `main`; does nothing where the C library
/// is not glibc.
pub fn keep() {
    keep_by_thread();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    set(libc::M_ARENA_MAX, 1);
}

/// [`keep`], but every thread has its own arena, in which threads do not wait for each other: for arrays of less than some
/// megabytes, as reading words makes them.
pub fn keep_by_thread() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for option in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        set(option, i32::MAX);
    }
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
