//! Mistakes in files, shown with the line they are in.

use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::policy::Problem;

/// Shows a problem of a file as a compiler does. `level` is how bad it is.
pub(super) fn render(problem: &Problem, level: Level<'_>, path: &Path, text: &str) -> String {
    let path_of_field = problem.path.to_string();
    let message = if path_of_field.is_empty() {
        problem.message.clone()
    } else {
        format!("{path_of_field}: {}", problem.message)
    };
    let path = path.display().to_string();
    let title = level.primary_title(message);
    let group = match problem.place.and_then(|place| span(text, place)) {
        Some(span) => title.element(Snippet::source(text).path(path).annotation(AnnotationKind::Primary.span(span))),
        None => Group::with_title(title).element(annotate_snippets::Origin::path(path)),
    };
    Renderer::styled().render(&[group])
}

/// The bytes of the word at a line and column, both from 1 and counted in characters. A text that ends too early is
/// wrong where it ends.
fn span(text: &str, place: (usize, usize)) -> Option<Range<usize>> {
    let end = || text.trim_end().char_indices().next_back().map(|(offset, _)| offset);
    let start = offset(text, place).or_else(end)?;
    let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}');
    let length = text.get(start..)?.find(ends).unwrap_or(text.len() - start);
    Some(start..start + length)
}

fn offset(text: &str, (line, column): (usize, usize)) -> Option<usize> {
    let line_start = match line.checked_sub(2) {
        None => 0,
        Some(breaks) => text.match_indices('\n').nth(breaks)?.0 + 1,
    };
    let (offset, _) = text.get(line_start..)?.char_indices().nth(column.checked_sub(1)?)?;
    Some(line_start + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_word_at_a_line_and_column() {
        assert_eq!(span("", (1, 1)), None);
        let text = "a: b\nü: {name: c, d}\n";
        for (place, word) in [((1, 1), Some("a:")), ((2, 5), Some("name:")), ((2, 11), Some("c")), ((9, 1), Some(""))] {
            assert_eq!(span(text, place).map(|span| &text[span]), word, "{place:?}");
        }
    }
}
