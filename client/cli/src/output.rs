//! Results: tables for people, one JSON object per line for programs, bytes as they are.
//!
//! **Invariant:** when the reader goes away (`tidelog … | head`), the command ends quietly.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsFd;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::failure::Failure;

/// Records are gathered up to here before they are written.
const BUFFER_BYTES: usize = 64 * 1024;

/// Standard output. Buffered: [`Self::flush`] when what was written must be seen.
#[derive(Debug)]
pub(crate) struct Output {
    writer: BufWriter<File>,
}

impl Output {
    /// The process's standard output. The standard library's own handle would flush at every line.
    pub(crate) fn stdout() -> Result<Self, Failure> {
        let stdout = std::io::stdout().as_fd().try_clone_to_owned();
        let file = File::from(stdout.map_err(|error| Failure::output(&error))?);
        Ok(Self { writer: BufWriter::with_capacity(BUFFER_BYTES, file) })
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes).map_err(|error| Failure::output(&error))
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.bytes(line.as_bytes())?;
        self.bytes(b"\n")
    }

    /// Writes a JSON object as one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_vec(value);
        self.bytes(&line.map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?)?;
        self.bytes(b"\n")
    }

    /// Writes a table. Without rows only its head, so that a program that skips the first line is right.
    pub(crate) fn table(&mut self, head: &[Column], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        self.line(&table(head, rows))
    }

    /// Sends on what is gathered.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|error| Failure::output(&error))
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Column {
    /// Words, to the left.
    Text(&'static str),
    /// Numbers, to the right.
    Number(&'static str),
}

/// A table without frames, easy to read and easy to cut.
pub(crate) fn table(head: &[Column], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head.iter().map(|column| match column {
        Column::Text(name) | Column::Number(name) => *name,
    }));
    table.add_rows(rows);
    for (index, column) in head.iter().enumerate() {
        let Some(cells) = table.column_mut(index) else { continue };
        cells.set_padding((0, 2));
        if matches!(column, Column::Number(_)) {
            cells.set_cell_alignment(CellAlignment::Right);
        }
    }
    let text = table.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
