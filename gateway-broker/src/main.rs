//! `fleet-gateway-broker`; everything is in the library.

fn main() -> std::process::ExitCode {
    gateway_broker::main()
}
