//! Prints the SHA-256 of files, as `openssl dgst -sha256` does: by the digest that ukexec takes
//! of images, and nothing else of it.
//!
//! `cargo run --release -p ukexec-loader --example digest FILE…`

#![expect(clippy::print_stdout, reason = "it is a program")]

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use ukexec_loader::{Algorithm, digest_state, shown};

fn main() -> Result<(), Box<dyn Error>> {
    let mut window = vec![0; 256 << 10];
    for path in env::args_os().skip(1).map(PathBuf::from) {
        let mut file = File::open(&path)?;
        let mut state = digest_state(Algorithm::Sha256);
        loop {
            let count = file.read(&mut window)?;
            if count == 0 {
                break;
            }
            state.update(&window[..count]);
        }
        let digest = state.finish();
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("{digest}  {}", shown(&path));
    }
    Ok(())
}
