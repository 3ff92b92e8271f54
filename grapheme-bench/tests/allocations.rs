//! What a training step takes from the allocator, once it has seen a batch of the same sizes.

use grapheme_bench::inputs::examples;
use grapheme_bench::step::{Step, preset, small};
use grapheme_train::data::Example;
use grapheme_train::settings::{ModelSpec, Preset};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a thread asked for and gave back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Taken {
    blocks: u64,
    bytes: u64,
    /// Bytes that were not given back.
    kept: i64,
}

thread_local! {
    static TAKEN: Cell<Taken> = const { Cell::new(Taken { blocks: 0, bytes: 0, kept: 0 }) };
}

/// The system's allocator, watched.
struct Watched;

fn watch(taken: usize, given: usize) {
    let Taken { blocks, bytes, kept } = TAKEN.get();
    let kept = kept + taken as i64 - given as i64;
    TAKEN.set(Taken { blocks: blocks + u64::from(taken > 0), bytes: bytes + taken as u64, kept });
}

// SAFETY: every call goes to the system's allocator as it came; to watch it allocates nothing.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        watch(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        watch(0, layout.size());
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        watch(layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        watch(size, layout.size());
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Pages of memory that this thread touched for the first time; nothing where the system does not tell.
fn new_pages() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").ok()?;
    // The name, which ends with the last parenthesis, may hold spaces.
    stat.rsplit_once(')')?.1.split_whitespace().nth(7)?.parse().ok()
}

/// The first step finds nothing on the shelf of its thread; the next ones find all, though not yet where they left it.
#[test]
fn a_step_on_sizes_seen_before_asks_for_no_memory() {
    // As `train` does.
    grapheme_train::memory::keep();
    let pool = examples(16, 6..=12, 3);
    for (name, spec) in [
        ("words", preset(Preset::Words, None, &pool)),
        ("dilated", preset(Preset::Dilated, None, &pool)),
        ("tiny", preset(Preset::Tiny, None, &pool)),
        ("small with Sinkhorn", small(&pool)),
    ] {
        std::thread::scope(|scope| scope.spawn(|| watched(name, spec, &pool)).join()).expect("no panic of its own");
    }
}

/// On a thread that has kept nothing yet.
fn watched(name: &str, spec: ModelSpec, pool: &[Example]) {
    let mut step = Step::new(spec, pool.to_vec());
    let mut look = || {
        let pages = new_pages();
        let before = TAKEN.replace(Taken::default());
        step.take();
        let taken = TAKEN.replace(before);
        (taken, new_pages().zip(pages).map_or(0, |(now, before)| now - before))
    };
    let (first, _) = look();
    for _ in 0..2 {
        look();
    }
    let looks: Vec<(Taken, u64)> = (0..5).map(|_| look()).collect();
    println!("{name}: first {first:?}, then {looks:?}");
    // Or nothing would be counted.
    assert!(first.blocks > 50, "{name}: {first:?}");
    assert!(looks.iter().all(|(taken, _)| *taken == Taken::default()), "{name}: {looks:?}");
    // The file that is read to know may take some itself.
    assert!(looks.iter().any(|look| look.1 == 0), "{name}: every step touches new pages, {looks:?}");
}
