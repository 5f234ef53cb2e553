//! Tables in the manner of kubectl: columns two blanks apart, no lines.
//!
//! The first rows are held back until it is known how wide the columns have to be; those that follow are written at once.
//! On a terminal a row takes one line, and what does not fit ends in `…`; in a pipe nothing is cut.

use std::io::{self, Write};

use anstyle::Style;

/// How many rows settle the widths.
const FIRST: usize = 500;
/// Blanks between columns.
const GAP: usize = 2;
/// The widest that a column gets in a pipe; what is longer pushes the rest of its row aside.
const WIDEST: usize = 60;

/// One column.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// What is left of it where there is little room.
    pub(super) cut: Cut,
}

/// What is left of a column where there is little room.
#[derive(Clone, Copy)]
pub(super) enum Cut {
    /// All of it.
    Never,
    /// At least so much, once the columns that are cut to a size are.
    Late(usize),
    /// First so much, and at least so much.
    To(usize, usize),
}

impl Cut {
    /// How narrow a column may become, in the first round and in the second.
    fn least(self, round: usize) -> usize {
        match (self, round) {
            (Self::Never, _) | (Self::Late(_), 0) => usize::MAX,
            (Self::To(first, _), 0) => first,
            (Self::Late(least) | Self::To(_, least), _) => least,
        }
    }
}

/// One cell.
#[derive(Clone)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) style: Style,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

/// A table that is being written.
pub(super) struct Table {
    columns: Vec<Column>,
    /// The width of the terminal; none where it is not one.
    room: Option<usize>,
    held: Vec<Vec<Cell>>,
    widths: Option<Vec<usize>>,
}

impl Table {
    pub(super) fn new(columns: Vec<Column>, room: Option<usize>) -> Self {
        let titles = columns.iter().map(|column| Cell::from(column.title)).collect();
        Self { columns, room, held: vec![titles], widths: None }
    }

    /// Adds a row, with a cell for each column.
    pub(super) fn row(&mut self, output: &mut dyn Write, row: Vec<Cell>) -> io::Result<()> {
        if let Some(widths) = &self.widths {
            return self.write(output, widths, &row);
        }
        self.held.push(row);
        if self.held.len() > FIRST { self.settle(output) } else { Ok(()) }
    }

    /// Writes what is held back. A table without rows is not written at all.
    pub(super) fn end(mut self, output: &mut dyn Write) -> io::Result<()> {
        if self.widths.is_none() && self.held.len() > 1 { self.settle(output) } else { Ok(()) }
    }

    fn settle(&mut self, output: &mut dyn Write) -> io::Result<()> {
        let widths = self.fit();
        for row in std::mem::take(&mut self.held) {
            self.write(output, &widths, &row)?;
        }
        self.widths = Some(widths);
        Ok(())
    }

    /// How wide the columns are: as wide as their cells, as long as there is room.
    fn fit(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = vec![0; self.columns.len()];
        for row in &self.held {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(length(&cell.text));
            }
        }
        let Some(room) = self.room else {
            return widths.into_iter().map(|width| width.min(WIDEST)).collect();
        };
        let gaps = GAP * self.columns.len().saturating_sub(1);
        let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(room);
        for round in 0..2 {
            while excess > 0 {
                // The widest of those that can still give.
                let all = widths.iter_mut().zip(&self.columns);
                let giving = all.filter(|(width, column)| **width > column.cut.least(round));
                let Some((width, _)) = giving.max_by_key(|(width, _)| **width) else { break };
                *width -= 1;
                excess -= 1;
            }
        }
        widths
    }

    fn write(&self, output: &mut dyn Write, widths: &[usize], row: &[Cell]) -> io::Result<()> {
        let last = row.len().saturating_sub(1);
        for (position, (cell, width)) in row.iter().zip(widths).enumerate() {
            let text = if self.room.is_some() { cut(&cell.text, *width) } else { cell.text.clone() };
            write!(output, "{}{text}{:#}", cell.style, cell.style)?;
            if position < last {
                write!(output, "{:1$}", "", (width + GAP).saturating_sub(length(&text)).max(GAP))?;
            }
        }
        writeln!(output)
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(room: Option<usize>, rows: &[[&str; 3]]) -> String {
        let column = |title, cut| Column { title, cut };
        let columns =
            vec![column("NAME", Cut::To(12, 6)), column("VERDICT", Cut::Never), column("REQUESTED", Cut::Late(4))];
        let (mut table, mut output) = (Table::new(columns, room), Vec::new());
        for row in rows {
            table.row(&mut output, row.iter().map(|text| Cell::from(*text)).collect()).unwrap();
        }
        table.end(&mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    const ROWS: [[&str; 3]; 2] =
        [["csr-1", "approve", "worker-1, 10.0.0.1"], ["a-long-name-of-a-request", "deny", "-"]];

    #[test]
    fn columns_are_as_wide_as_their_cells_and_the_last_has_no_blanks_after_it() {
        assert_eq!(
            table(None, &ROWS),
            "NAME                      VERDICT  REQUESTED\n\
             csr-1                     approve  worker-1, 10.0.0.1\n\
             a-long-name-of-a-request  deny     -\n"
        );
        assert_eq!(table(Some(200), &ROWS), table(None, &ROWS));
        assert_eq!(table(None, &[]), "");
    }

    #[test]
    fn on_a_terminal_the_widest_columns_give_and_nothing_is_wider_than_it() {
        assert_eq!(
            table(Some(40), &ROWS),
            "NAME          VERDICT  REQUESTED\n\
             csr-1         approve  worker-1, 10.0.0…\n\
             a-long-name…  deny     -\n"
        );
        // Narrower than that it cannot be.
        assert_eq!(table(Some(5), &ROWS).lines().map(length).max(), Some(21));
        let mut rows = vec![["csr-1", "approve", "x"]; FIRST];
        rows.push(["a-name-that-came-late", "deny", "x"]);
        assert!(table(Some(80), &rows).ends_with("a-na…  deny     x\n"), "{}", table(Some(80), &rows));
        assert!(table(None, &rows).ends_with("a-name-that-came-late  deny     x\n"));
    }
}
