//! The tests that meet the program from outside: one binary, a file a subject.

mod architecture;
mod cli;
mod demo_calls;
mod dialogue;
mod handling;
mod kafka;
mod lexicon;
mod restarts;
mod triage;
