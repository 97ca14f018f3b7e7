//! Source lines that line records name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Btf;
use super::ext::LineInfo;
use crate::SourceLine;

/// The most bytes of source text that are kept; what comes later is empty.
const MAX_TEXT: usize = 4 << 20;

/// File names and lines, each kept once.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    texts: BTreeMap<u32, Arc<str>>,
    /// The last file name and the last line, which most records name again.
    file: Recent,
    line: Recent,
    kept: usize,
}

/// The text that was asked for last, by its offset.
type Recent = Option<(u32, Arc<str>)>;

impl Texts {
    /// Returns the lines of a program's records, which ascend by slot. Of several
    /// records for one slot the last holds.
    pub(crate) fn lines<'r>(
        &mut self,
        btf: &Btf,
        records: impl Iterator<Item = (u32, &'r LineInfo)>,
    ) -> Vec<SourceLine> {
        let mut lines = Vec::<SourceLine>::new();
        for (slot, record) in records {
            lines.pop_if(|last| last.slot == slot);
            lines.push(self.source_line(btf, slot, record));
        }
        lines
    }

    pub(crate) fn source_line(&mut self, btf: &Btf, slot: u32, record: &LineInfo) -> SourceLine {
        let (mut file, mut text) = (self.file.take(), self.line.take());
        let line = SourceLine {
            slot,
            file: self.recent(btf, record.file_name, &mut file),
            line: record.line,
            text: self.recent(btf, record.text, &mut text),
        };
        (self.file, self.line) = (file, text);
        line
    }

    fn recent(&mut self, btf: &Btf, offset: u32, last: &mut Recent) -> Arc<str> {
        match last {
            Some((known, text)) if *known == offset => Arc::clone(text),
            _ => {
                let text = self.get(btf, offset);
                *last = Some((offset, Arc::clone(&text)));
                text
            }
        }
    }

    fn get(&mut self, btf: &Btf, offset: u32) -> Arc<str> {
        if let Some(text) = self.texts.get(&offset) {
            return Arc::clone(text);
        }
        if self.kept == MAX_TEXT {
            return Arc::from("");
        }
        let text = btf.text(offset);
        let kept = self.kept.saturating_add(text.trim().len());
        let text: Arc<str> = if kept <= MAX_TEXT {
            self.kept = kept;
            text.trim().into()
        } else {
            "".into()
        };
        self.texts.insert(offset, Arc::clone(&text));
        text
    }
}
