//! Writes down when this was built: `SOURCE_DATE_EPOCH`, or else the time of the last commit.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    println!("cargo:rerun-if-changed=build.rs");
    let told = std::env::var("SOURCE_DATE_EPOCH").ok();
    let seconds = told.or_else(commit_time).unwrap_or_default();
    let seconds = seconds.trim().parse::<i64>().unwrap_or_default();
    println!("cargo:rustc-env=FLEET_BUILD_UTC_S={seconds}");
}

fn commit_time() -> Option<String> {
    let output = Command::new("git")
        .args(["log", "-1", "--format=%ct"])
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()
}
