//! The `--json` documents, described in `docs/json.md`. Fields are only ever
//! added.

use std::fmt::Display;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use ukexec_boot::Kernel;
use ukexec_bpf::{Rope, RopeError};
use ukexec_signature::Digests;
use ukexec_unfold::{Layer, ParserInfo, PeBytes, Report, Stage, StageReport};

use crate::worker::outcome::Outcome;

/// The version that every document names.
pub const SCHEMA: u32 = 1;

/// Returns the document of an unfolding: layers, stages, parts and warnings.
///
/// With `hash`, parts have a `sha256`, for which every byte is read.
pub(crate) fn of_outcome(outcome: &Outcome, hash: bool) -> Result<Value, RopeError> {
    let Report { layers, stages, .. } = &outcome.report;
    let mut kernel = part(&outcome.kernel, hash)?;
    describe_kernel(&mut kernel, &outcome.identity);
    let initrd = outcome
        .initrd
        .as_ref()
        .map(|rope| part(rope, hash))
        .transpose()?;
    Ok(json!({
        "schema": SCHEMA,
        "image": {
            "path": outcome.path,
            "size": outcome.image.len(),
        },
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
        "stages": stages.iter().map(stage).collect::<Vec<_>>(),
        "kernel": kernel,
        "initrd": initrd,
        "cmdline": outcome.cmdline.as_ref().map(|bytes| cmdline(bytes, hash)),
        "warnings": outcome.warnings(),
    }))
}

/// Returns the document of one stage that was run by itself.
pub fn of_stage(done: &Stage) -> Value {
    let mut kernel = json!({ "size": done.kernel.len() });
    describe_kernel(&mut kernel, &ukexec_boot::identify(&PeBytes(&done.kernel)));
    let warnings: Vec<String> = done.warnings.iter().map(ToString::to_string).collect();
    json!({
        "schema": SCHEMA,
        "match": done.matches,
        "stage": stage(&done.report),
        "kernel": kernel,
        "initrd": done.initrd.as_ref().map(|rope| json!({ "size": rope.len() })),
        "cmdline": done.cmdline.as_ref().map(|bytes| cmdline(bytes, false)),
        "warnings": warnings,
    })
}

fn layer(layer: &Layer) -> Value {
    json!({
        "path": layer.path,
        "size": layer.size,
        "pe": layer.pe.as_ref().map(|pe| json!({
            "machine": pe.machine,
            "subsystem": pe.subsystem,
            "certificates": pe.certificates.as_ref().map(|range| json!({
                "offset": range.start,
                "size": range.end - range.start,
            })),
            "sections": pe.sections.iter().map(|section| json!({
                "name": section.name,
                "offset": section.content.start,
                "size": section.content.end - section.content.start,
            })).collect::<Vec<_>>(),
        })),
        "pe_fault": layer.pe_fault,
        "asked": layer.asked.iter().map(|asked| json!({
            "parser": parser(&asked.parser),
            "fits": asked.fits,
            "insns": asked.insns,
            "log": asked.log,
        })).collect::<Vec<_>>(),
        "parser": layer.parser.as_ref().map(parser),
    })
}

fn parser(parser: &ParserInfo) -> Value {
    json!({ "name": parser.name, "origin": parser.origin.to_string() })
}

fn stage(stage: &StageReport) -> Value {
    json!({
        "stage": stage.number,
        "layer": stage.layer,
        "parser": parser(&stage.parser),
        "abi": stage.abi,
        "programs": stage.programs.iter().map(|program| json!({
            "name": program.name,
            "hook": program.hook,
            "insns": program.insns,
        })).collect::<Vec<_>>(),
        "insns": stage.insns,
        "profile": stage.profile,
        "handed_over": stage.handed_over.iter().map(|hand_over| json!({
            "resource": hand_over.resource.to_string(),
            "size": hand_over.size,
        })).collect::<Vec<_>>(),
        "log": stage.log,
    })
}

fn part(rope: &Rope, hash: bool) -> Result<Value, RopeError> {
    let mut value = json!({ "size": rope.len() });
    if hash {
        value["sha256"] = json!(sha256(rope)?);
    }
    Ok(value)
}

fn cmdline(bytes: &[u8], hash: bool) -> Value {
    let mut value = json!({ "size": bytes.len(), "text": String::from_utf8_lossy(bytes) });
    if hash {
        value["sha256"] = json!(hex(&Sha256::digest(bytes)));
    }
    value
}

fn describe_kernel<E: Display>(value: &mut Value, identity: &Result<Kernel, E>) {
    match identity {
        Ok(Kernel {
            format,
            arch,
            version,
            signed,
            cmdline_limit,
            ..
        }) => {
            value["format"] = json!(format.to_string());
            value["arch"] = json!(arch.map(|arch| arch.to_string()));
            value["version"] = json!(version);
            value["signed"] = json!(signed);
            value["cmdline_limit"] = json!(cmdline_limit.map(|limit| limit.bytes));
        }
        Err(error) => value["not_a_kernel"] = json!(error.to_string()),
    }
}

/// Returns the SHA-256 of all bytes of `rope`, in hex.
pub(crate) fn sha256(rope: &Rope) -> Result<String, RopeError> {
    let mut digest = Sha256::new();
    let mut buf = vec![0; HASH_CHUNK];
    let mut at = 0;
    while at < rope.len() {
        let len = usize::try_from(rope.len() - at)
            .unwrap_or(HASH_CHUNK)
            .min(HASH_CHUNK);
        rope.read_at(at, &mut buf[..len])?;
        digest.update(&buf[..len]);
        at += len as u64;
    }
    Ok(hex(&digest.finalize()))
}

/// Returns digests in hex, by the names of their algorithms.
pub(crate) fn digests(digests: &Digests) -> Value {
    let field = |name: String| name.to_lowercase().replace('-', "");
    digests
        .iter()
        .map(|(algorithm, digest)| (field(algorithm.to_string()), json!(hex(digest))))
        .collect()
}

const HASH_CHUNK: usize = 256 << 10;

/// Returns bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rope_hashes_as_its_bytes() {
        let rope = Rope::from(b"abc".to_vec());
        assert_eq!(
            sha256(&rope).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
