//! `fleet-gateway`; everything is in the library.

fn main() -> std::process::ExitCode {
    gateway::main(std::env::args_os())
}
