//! The commands as people run them: from outside, with their files, their exit codes and what they say.

mod bad_input;
mod browser;
mod in_use;
mod interrupted;
mod nodes;
mod on_time;
mod optics;
mod plain;
mod planted;
mod real_words;
mod same_bits;
mod sandbox;
mod sets;
mod storage;
mod trees;
mod word_lists;
mod wrong_uses;
