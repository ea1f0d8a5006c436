use std::process::ExitCode;

/// A step takes and gives back many small pieces of memory: with the system's allocator it takes a tenth longer.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    callward::cli::run()
}
