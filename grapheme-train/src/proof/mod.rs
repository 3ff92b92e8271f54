//! What the project claims about its derivatives, shown on small cases: the library half of the `test_*` binaries.

pub mod gradient_check;
