//! Firmware's word: images signed in every way that we know of, each judged by ukexec and by OVMF
//! with the same lists.
//!
//! Both verdicts are asserted. Firmware is the measure: ukexec accepts nothing that it refuses,
//! but for the algorithms that this firmware does not know. Where ukexec is stricter, the reason
//! is a row of docs/signatures.md.

mod certificates;
mod chains;
mod constraints;
mod crew;
mod images;
mod lists;
mod revoked;
mod round;
mod signatures;
mod signers;
mod tables;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};

use super::Named;
use crate::command::{Tool, said};
use crate::firmware::{Answer, Orders};
use crate::forge::list;
use crate::pki::Efivars;
use crate::stand::{Stand, document, text_at};
use crate::workspace;

use crew::Crew;
use round::{Expected, Good, Newer, Refused, Round, Stricter, Table, Unloadable, WEAK};

pub(in super::super) const CASES: &[Named] = &[Named::new("verdicts/firmware", compare)];

/// How many images ukexec may refuse that firmware accepts.
const MAX_STRICTER: usize = 25;

/// The answer of ukexec for an image.
struct Verdict {
    is_good: bool,
    words: String,
}

fn compare(stand: &Stand) -> Result<()> {
    let crew = Crew::new(stand)?;
    let mut rounds = Vec::new();
    for class in [
        signatures::rounds,
        signers::rounds,
        tables::rounds,
        images::rounds,
        chains::rounds,
        certificates::rounds,
        constraints::rounds,
        revoked::rounds,
        lists::rounds,
    ] {
        rounds.extend(class(&crew)?);
    }
    let names: BTreeSet<&str> = rounds.iter().map(|round| &*round.name).collect();
    ensure!(names.len() == rounds.len(), "two rounds have one name");
    let answers = firmware(&crew, &rounds)?;
    let mut answers = answers.into_iter();
    let page = fs::read_to_string(workspace::root().join("docs/signatures.md"))?;
    let mut found = Found::default();
    for round in &rounds {
        let machine = Efivars::new(stand, &round.name, true)?;
        let machine = machine.firmware("db", &round.db)?;
        let machine = machine.firmware("dbx", &round.dbx)?;
        for judged in &round.images {
            let name = format!("{}/{}", round.name, judged.name);
            let answer = answers.next().context("an image without an answer")?;
            let verdict = ukexec(stand, &name, &judged.image, &machine)?;
            found.note(&name, judged.expected, answer, &verdict, &page)?;
        }
    }
    stand.file("verdicts.tsv", &found.table)?;
    found.check()
}

/// Has the firmware judge all images of all rounds, in one boot.
fn firmware(crew: &Crew<'_>, rounds: &[Round]) -> Result<Vec<Answer>> {
    let mut orders = Orders::new(&list::certificate(&crew.owner.der));
    for round in rounds {
        orders.lists("db", &round.db);
        orders.lists("dbx", &round.dbx);
        for judged in &round.images {
            orders.image(&judged.image);
        }
    }
    orders.follow(crew.stand)
}

/// The answers of both for all images.
#[derive(Default)]
struct Found {
    names: BTreeSet<String>,
    stricter: usize,
    wrong: Vec<String>,
    /// For people who look at the case's folder.
    table: String,
}

impl Found {
    fn note(
        &mut self,
        name: &str,
        expected: Expected,
        firmware: Answer,
        ukexec: &Verdict,
        page: &str,
    ) -> Result<()> {
        let Verdict { is_good, words } = ukexec;
        let line = format!("{name}\t{firmware:?}\t{is_good}\t{expected:?}\t{words}\n");
        self.table.push_str(&line);
        if !fits(expected, firmware, *is_good) {
            self.wrong.push(format!(
                "{name}: expected {expected:?}; firmware: {firmware:?}; ukexec: {words}"
            ));
        }
        if let Stricter(row) | Newer(row) = expected
            && !page
                .lines()
                .any(|line| line.starts_with(&format!("| {row} |")))
        {
            self.wrong
                .push(format!("{name}: docs/signatures.md has no row {row:?}"));
        }
        self.stricter += usize::from(matches!(expected, Stricter(_)));
        ensure!(
            self.names.insert(name.to_owned()),
            "two images are called {name}"
        );
        Ok(())
    }

    fn check(self) -> Result<()> {
        let (all, stricter) = (self.names.len(), self.stricter);
        ensure!(
            self.wrong.is_empty(),
            "{} of {all} verdicts:\n{}",
            self.wrong.len(),
            self.wrong.join("\n")
        );
        ensure!(
            stricter <= MAX_STRICTER,
            "ukexec is stricter about {stricter} images, and may be about {MAX_STRICTER}"
        );
        println!("     {all} images judged by OVMF: ukexec is stricter about {stricter}");
        Ok(())
    }
}

fn fits(expected: Expected, firmware: Answer, ukexec: bool) -> bool {
    let accepts = match expected {
        Good => (Answer::Loaded, true),
        Refused => (Answer::Refused, false),
        Unloadable => (Answer::Unloadable, true),
        Stricter(_) => (Answer::Loaded, false),
        Newer(_) => (Answer::Refused, true),
    };
    (firmware, ukexec) == accepts
}

/// Asks ukexec, and makes sure that it is the signature that it speaks of.
fn ukexec(stand: &Stand, name: &str, image: &[u8], machine: &Efivars) -> Result<Verdict> {
    let file = name.replace(['/', ' '], "-") + ".efi";
    let image = stand.file(&file, image)?;
    let efivars = format!("--efivars={}", machine.dir().display());
    let output = Tool::new(stand.ukexec_path())
        .args(["inspect", "--json", "--verify=require", "--trust=system"])
        .arg(&efivars)
        .arg(&image)
        .output()?;
    let report = document(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{name}: {}", said(&output)))?;
    Ok(match output.status.code() {
        Some(0) => {
            let state = &report["signatures"][0]["state"];
            ensure!(state == "good" || state == "allowed", "{name}: {report:#}");
            Verdict {
                is_good: true,
                words: text_at(&report, "/signatures/0/text")?.to_owned(),
            }
        }
        Some(1 | 3) => Verdict {
            is_good: false,
            words: text_at(&report, "/error/message")?.to_owned(),
        },
        _ => bail!("{name}: {}", said(&output)),
    })
}
