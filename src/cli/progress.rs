//! A sign of life on standard error for what takes more than a second, if that is a terminal.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is over sooner needs no sign of life.
const QUICK: Duration = Duration::from_secs(1);
/// How often the bar is drawn, in a second.
const PACE: u8 = 10;

/// How far something has come.
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
    shown: RefCell<bool>,
}

impl Progress {
    /// Of some bytes; of an unknown number where they come through a pipe.
    pub(super) fn of_bytes(total: Option<u64>) -> Self {
        let template = match total {
            Some(_) => "reading {bar:30} {bytes} of {total_bytes}, {eta} left",
            None => "reading {spinner} {bytes}",
        };
        Self::new(total, template)
    }

    /// Of objects that are listed.
    pub(super) fn of_objects() -> Self {
        Self::new(None, "listing {spinner} {human_pos} objects")
    }

    /// Of requests that are judged.
    pub(super) fn of_requests(total: usize) -> Self {
        Self::new(u64::try_from(total).ok(), "judging {bar:30} {human_pos} of {human_len} requests, {eta} left")
    }

    /// Of names that are looked up.
    pub(super) fn of_names(total: usize) -> Self {
        Self::new(u64::try_from(total).ok(), "asking DNS {bar:30} {human_pos} of {human_len} names, {eta} left")
    }

    fn new(total: Option<u64>, template: &str) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        // A template that is wrong shows nothing, which is no reason to stop.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now(), shown: RefCell::new(false) }
    }

    /// So many more.
    pub(super) fn add(&self, more: usize) {
        self.bar.inc(u64::try_from(more).unwrap_or_default());
        self.show_if_slow();
    }

    /// So many in all.
    pub(super) fn set(&self, position: usize) {
        self.bar.set_position(u64::try_from(position).unwrap_or_default());
        self.show_if_slow();
    }

    fn show_if_slow(&self) {
        if !*self.shown.borrow() && self.started.elapsed() > QUICK && std::io::stderr().is_terminal() {
            *self.shown.borrow_mut() = true;
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(PACE));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
