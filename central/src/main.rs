//! `fleet-central`: see the library.

fn main() -> std::process::ExitCode {
    central::main(std::env::args_os())
}
