//! Every kernel of the list under criterion, for before and after a change: `cargo bench --bench kernels -- sinkhorn/128`.

use criterion::Criterion;
use grapheme_bench::kernels;
use std::cell::{OnceCell, RefCell};
use std::time::Duration;

fn main() {
    // As `train` does.
    grapheme_train::memory::keep();
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for entry in kernels::all() {
        // Made only if it is asked for by name.
        let kernel = OnceCell::new();
        let kernel = || kernel.get_or_init(|| RefCell::new((entry.make)()));
        criterion.bench_function(&entry.name, |b| b.iter_custom(|runs| (kernel().borrow_mut().time)(runs)));
    }
    criterion.final_summary();
}
