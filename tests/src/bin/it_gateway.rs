//! `fleet-gateway` for the tests of this package.

fn main() -> std::process::ExitCode {
    gateway::main(std::env::args_os())
}
