//! The gate: which layers it sees, when, and what a refusal does.

use std::error::Error;

use expect_test::{Expect, expect};

use super::{Image, Op, chain, input, options};
use crate::{Budget, Gate, LayerAtGate, MemoryStore, unfold_with};

/// A gate that notes who comes, and lets nobody pass whose path ends so.
struct Guard {
    refused: &'static str,
    seen: Vec<String>,
}

impl Gate for Guard {
    fn admit(&mut self, layer: &LayerAtGate<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        let pe = if layer.pe.is_some() { "PE" } else { "no PE" };
        let len = layer.image.len();
        self.seen.push(format!("{}, {pe}, {len} bytes", layer.path));
        if layer.path.ends_with(self.refused) {
            return Err("nobody knows it".into());
        }
        Ok(())
    }
}

/// Unfolds a container with a kernel behind `refused`, and returns who came to the
/// gate and what became of it.
fn check_gate(refused: &'static str, expected: Expect) {
    let mut guard = Guard {
        refused,
        seen: Vec::new(),
    };
    let image = Image::new(Op::Unfold).kernel(b"kernel").build_pe(&[]);
    let unfolded = unfold_with(
        input(image),
        &options(),
        &mut guard,
        &mut MemoryStore::default(),
        &mut Budget::default(),
    );
    let outcome = match unfolded {
        Ok(unfolded) => format!("{} stages", unfolded.report.stages.len()),
        Err(error) => chain(&error),
    };
    expected.assert_eq(&format!("{}\n{outcome}\n", guard.seen.join("\n")));
}

#[test]
fn every_layer_comes_to_the_gate_before_anything_of_it_runs() {
    check_gate(
        "nobody",
        expect![[r#"
        image, PE, 1024 bytes
        image > .linux, no PE, 6 bytes
        1 stages
    "#]],
    );
    check_gate(
        "image",
        expect![[r#"
            image, PE, 1024 bytes
            image: refused: nobody knows it
        "#]],
    );
    check_gate(
        ".linux",
        expect![[r#"
            image, PE, 1024 bytes
            image > .linux, no PE, 6 bytes
            image > .linux: refused: nobody knows it
        "#]],
    );
}
