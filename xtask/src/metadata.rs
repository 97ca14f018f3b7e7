//! The workspace's own packages, as `cargo metadata` describes them.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use crate::command::Tool;

/// The packages of the workspace at `root`.
pub(crate) fn packages(root: &Path) -> Result<Vec<Value>> {
    let text = Tool::new("cargo")
        .args(["metadata", "--format-version=1", "--no-deps"])
        .dir(root)
        .text()?;
    let mut metadata: Value = serde_json::from_str(&text).context("`cargo metadata`")?;
    match metadata.get_mut("packages").map(Value::take) {
        Some(Value::Array(packages)) => Ok(packages),
        _ => Err(anyhow!("`cargo metadata` lists no packages")),
    }
}

/// The text of a field of a package, or nothing.
pub(crate) fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The entries of a field of a package, or none.
pub(crate) fn entries<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Whether a target is a library or a program, and not a test, an example or a bench.
pub(crate) fn is_shipped(target: &Value) -> bool {
    let shipped = |kind: &Value| kind == "lib" || kind == "bin";
    entries(target, "kind").iter().any(shipped)
}

/// The name that architecture and folders have for a package.
pub(crate) fn short(package: &str) -> &str {
    match package {
        "ukexec" => "cli",
        other => other.strip_prefix("ukexec-").unwrap_or(other),
    }
}
