//! A caller's command line for an image that is signed and has one, where a good signature is
//! required: kexec(8)'s callers give one, and `personality.cmdline` decides.
//!
//! The worker is this program, started once more, so that it has a `main` of its own.

#![expect(clippy::print_stdout, reason = "the counts of tests are its output")]

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "command/images.rs"]
mod images;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use ukexec_loader::report::failure::sentence;
use ukexec_loader::report::{Findings, ReportForm};
use ukexec_loader::{
    CmdlineFrom, Console, LoadPlan, LoaderOptions, MachineState, Purpose, run_as_worker, unfold,
};

use self::images::{SHA256, X86_64, kernel, list, pe, variable};

/// For [`images`].
fn workspace(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Returns the line that an image with the line `own` is loaded with, and what is noted, where
/// the caller gives `C` as kexec(8)'s callers do, if he `overrides`; or why it is refused.
fn load(own: Option<&[u8]>, config: &str, overrides: bool) -> Result<(String, String), String> {
    let dir = tempfile::tempdir().expect("a folder");
    let kernel = kernel();
    let cmdline = own.map(|own| (".cmdline", own));
    let sections: Vec<_> = cmdline
        .into_iter()
        .chain([(".linux", &kernel[..])])
        .collect();
    let image = pe(X86_64, &sections);
    let path = dir.path().join("uki.efi");
    fs::write(&path, &image).expect("room for a file");
    let config_file = dir.path().join("ukexec.conf");
    fs::write(&config_file, config).expect("room for a file");
    let digest = list(SHA256, &authenticode(&image));
    let (name, content) = variable(("db", &digest));
    fs::write(dir.path().join(name), content).expect("room for a file");
    let mut options = LoaderOptions {
        config_file: Some(config_file),
        cmdline: CmdlineFrom::Caller(b"C".to_vec()),
        literal_cmdline: overrides,
        form: ReportForm::Document,
        ..LoaderOptions::default()
    };
    options.config.efivars = Some(dir.path().to_owned());
    let machine = MachineState::default();
    let purpose = Purpose::load(&machine, false);
    let console: Arc<dyn Console> = Arc::new(());
    let unfolding = unfold(&path, &options, &purpose, &console);
    let unfolding = unfolding.map_err(|error| sentence(&error))?;
    let plan = LoadPlan::new(&unfolding, &machine, true).map_err(|error| sentence(&error))?;
    let Findings::Document(report) = plan.report().map_err(|error| sentence(&error))? else {
        return Err("a page".to_owned());
    };
    let line = report["cmdline"]["text"].as_str().unwrap_or_default();
    Ok((line.to_owned(), plan.notes().join("\n")))
}

/// Returns the Authenticode digest of an image of [`pe`] that nobody signed: headers without the
/// checksum and the place of certificates, sections, and what is behind as many bytes.
fn authenticode(image: &[u8]) -> Vec<u8> {
    const OPTIONAL: usize = 0x58;
    let number = |at: usize| {
        let number = image[at..at + 4].try_into().expect("four bytes");
        usize::try_from(u32::from_le_bytes(number)).expect("a small image")
    };
    let mut headers = image[..number(OPTIONAL + 60)].to_vec();
    let mut hashed = headers.len();
    headers.drain(OPTIONAL + 144..OPTIONAL + 152);
    headers.drain(OPTIONAL + 64..OPTIONAL + 68);
    let mut digest = Sha256::new_with_prefix(headers);
    for index in 0..usize::from(image[0x46]) {
        let entry = OPTIONAL + 240 + 40 * index;
        let (len, start) = (number(entry + 16), number(entry + 20));
        digest.update(&image[start..start + len]);
        hashed += len;
    }
    digest.update(&image[hashed..]);
    digest.finalize().to_vec()
}

fn allowed_by_default() {
    let config = "verify = \"require\"";
    let (line, notes) = load(Some(b"own"), config, true).expect("a load");
    assert_eq!(line, "C");
    let note = "does not cover the command line that you gave; personality.cmdline = \"refuse\"";
    assert!(notes.contains(note), "{notes}");
}

fn refused_where_the_configuration_says_so() {
    let config = "verify = \"require\"\npersonality.cmdline = \"refuse\"";
    let refused = load(Some(b"own"), config, true).expect_err("a refusal");
    assert!(
        refused.contains("has a command line of its own"),
        "{refused}"
    );
    // An image without a line takes one anyhow.
    let (line, _) = load(None, config, true).expect("a load");
    assert_eq!(line, "C");
}

fn refused_without_the_personality() {
    for config in [
        "verify = \"require\"",
        "verify = \"require\"\npersonality.cmdline = \"allow\"",
    ] {
        let refused = load(Some(b"own"), config, false).expect_err("a refusal");
        assert!(
            refused.contains("has a command line of its own"),
            "{refused}"
        );
    }
}

fn nothing_is_said_where_nothing_is_required() {
    let (line, notes) = load(Some(b"own"), "verify = \"off\"", true).expect("a load");
    assert_eq!(line, "C");
    assert!(!notes.contains("personality"), "{notes}");
}

fn main() -> ExitCode {
    if let Some(code) = run_as_worker() {
        return code;
    }
    let tests = [
        allowed_by_default,
        refused_where_the_configuration_says_so,
        refused_without_the_personality,
        nothing_is_said_where_nothing_is_required,
    ];
    println!("\nrunning {} tests", tests.len());
    let failed = tests
        .iter()
        .filter(|test| std::panic::catch_unwind(**test).is_err());
    let failed = failed.count();
    let (word, passed) = (
        if failed == 0 { "ok" } else { "FAILED" },
        tests.len() - failed,
    );
    println!(
        "test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    u8::from(failed > 0).into()
}
