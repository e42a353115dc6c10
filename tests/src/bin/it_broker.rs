//! `fleet-gateway-broker` for the tests of this package.

fn main() -> std::process::ExitCode {
    gateway_broker::main()
}
