//! `fleet-central` for the tests of this package.

fn main() -> std::process::ExitCode {
    central::main(std::env::args_os())
}
