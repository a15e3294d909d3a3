//! Tells the program which target it is compiled for.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let triple = std::env::var("TARGET").unwrap_or_default();
    println!("cargo:rustc-env=XTASK_TRIPLE={triple}");
}
