use std::process::ExitCode;

fn main() -> ExitCode {
    callward::cli::run()
}
