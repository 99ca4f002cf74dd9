//! Tables in `mappings/` are built in; a new one makes the crate compile again.

fn main() {
    println!("cargo::rerun-if-changed=mappings");
}
