//! What is printed, and how.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Instant;

/// Prints lines with the time since the start; in colour on a terminal, unless NO_COLOR is set (no-color.org).
#[derive(Clone)]
pub struct Screen {
    started: Arc<Instant>,
    colours: bool,
}

/// The colours in use.
#[derive(Clone, Copy)]
pub enum Colour {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
}

impl Screen {
    pub fn new() -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { started: Arc::new(Instant::now()), colours: std::io::stdout().is_terminal() && !no_colour }
    }

    /// The text in a colour, where there are colours.
    pub fn paint(&self, colour: Colour, text: &str) -> String {
        if self.colours { format!("\x1b[{}m{text}\x1b[0m", colour as u8) } else { text.to_owned() }
    }

    /// The headline of what comes next.
    pub fn title(&self, text: &str) {
        self.plain(&format!("\n{}", self.paint(Colour::Bold, text)));
    }

    /// Something happened.
    pub fn say(&self, text: &str) {
        let time = format!("{:6.2} s", self.started.elapsed().as_secs_f64());
        self.plain(&format!("{}  {text}", self.paint(Colour::Dim, &time)));
    }

    /// Something happened at a node.
    pub fn node(&self, node: &str, text: &str) {
        self.say(&format!("{node:<7} {text}"));
    }

    /// A line as it is. A reader that has gone away (`| head`) is no reason to stop.
    #[allow(clippy::unused_self, reason = "everything that is printed goes through the screen")]
    pub fn plain(&self, text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }
}
