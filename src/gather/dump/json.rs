//! JSON, as it comes.

use std::io::BufRead;

use serde::de::DeserializeSeed as _;

use super::Problem;
use super::object::{Document, Sink};

/// Reads every document of a text, one after another.
pub(super) fn read(input: &mut dyn BufRead, sink: &Sink<'_>) -> Result<(), Problem> {
    let mut deserializer = serde_json::Deserializer::from_reader(input);
    loop {
        Document(sink).deserialize(&mut deserializer).map_err(|error| problem(&error, sink))?;
        match deserializer.end() {
            Ok(()) => return Ok(()),
            // Another document follows.
            Err(error) if error.is_syntax() => {}
            Err(error) => return Err(problem(&error, sink)),
        }
    }
}

fn problem(error: &serde_json::Error, sink: &Sink<'_>) -> Problem {
    if let Some(kind) = error.io_error_kind() {
        return Problem::Io(kind.into());
    }
    let (line, column) = (error.line(), error.column());
    let message = error.to_string().replace(&format!(" at line {line} column {column}"), "");
    let message = if column > 0 { format!("column {column}: {message}") } else { message };
    Problem::Content {
        line: Some(line).filter(|line| *line > 0),
        kind: sink.reading(),
        message: Problem::short(&message),
    }
}
