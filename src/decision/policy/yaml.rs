//! Reading a YAML file so that every mistake in it is found at once, and told where it is.
//!
//! serde stops at the first mistake. Here the place of each is taken out of the parsed value and the rest is read
//! again, until nothing is wrong any more; the line and column of a place come from a second, positional pass.

use std::fmt;

use granit_parser::{Event, Parser, Span};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use serde_yaml::Value;

/// The largest file that is read, in bytes.
const MAX_FILE: usize = 1024 * 1024;
/// How many mistakes of one file are told.
const MAX_PROBLEMS: usize = 32;
/// How alike a misspelt field and a real one have to be for the real one to be suggested.
const ALIKE: f64 = 0.7;

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line and column, from 1, where they are known.
    pub place: Option<(usize, usize)>,
    /// The path of the field, such as `rules[0].match`; empty for the file as a whole.
    pub path: FieldPath,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "line {line}, column {column}: ")?;
        }
        if !self.path.0.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a file; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError(Vec<Problem>);

impl FileError {
    /// Of these mistakes, at least one, in the order they were found.
    #[must_use]
    pub fn new(problems: Vec<Problem>) -> Self {
        Self(problems)
    }

    /// The mistakes, in the order they were found.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, problem) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for FileError {}

/// Where a field stands in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl FieldPath {
    /// The path of a field of this.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(Step::Key(key.to_owned()))
    }

    /// The path of an item of this.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// The path of a field within this.
    #[must_use]
    pub fn join(&self, within: &Self) -> Self {
        Self(self.0.iter().chain(&within.0).cloned().collect())
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The path as it was in the file, from which these items have been removed since, one after another.
    fn before(&self, removed: &[Self]) -> Self {
        let mut original = Self::default();
        for step in &self.0 {
            let step = match step {
                Step::Key(key) => Step::Key(key.clone()),
                Step::Index(index) => {
                    let mut gone: Vec<usize> = removed.iter().filter_map(|path| path.index_within(&original)).collect();
                    gone.sort_unstable();
                    Step::Index(
                        gone.into_iter().fold(*index, |index, gone| if gone <= index { index + 1 } else { index }),
                    )
                }
            };
            original.0.push(step);
        }
        original
    }

    /// The index of the item of `list` that this path leads to, if it is one.
    fn index_within(&self, list: &Self) -> Option<usize> {
        match self.0.split_last() {
            Some((Step::Index(index), rest)) if rest == list.0 => Some(*index),
            Some(_) | None => None,
        }
    }

    fn of(path: &serde_path_to_error::Path) -> Self {
        let step = |segment: &Segment| match segment {
            Segment::Map { key } => Some(Step::Key(key.clone())),
            Segment::Seq { index } => Some(Step::Index(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        };
        Self(path.iter().filter_map(step).collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// A file that was read, and what is known of where things stand in it.
pub struct File<T> {
    /// What it says.
    pub value: T,
    places: Vec<(FieldPath, (usize, usize))>,
}

impl<T> File<T> {
    /// A mistake at a field.
    pub fn problem(&self, path: FieldPath, message: impl Into<String>) -> Problem {
        Problem { place: place(&self.places, &path), path, message: message.into() }
    }
}

/// Reads the one YAML document of a file.
///
/// # Errors
/// All mistakes in form: not YAML, unknown or missing fields, values of another type.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<File<T>, Vec<Problem>> {
    let whole = |message: String| vec![Problem { place: None, path: FieldPath::default(), message }];
    if bytes.len() > MAX_FILE {
        return Err(whole(format!("the file has {} bytes; {MAX_FILE} are allowed", bytes.len())));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| whole("the file is not UTF-8 text".to_owned()))?;
    if text.trim().is_empty() {
        return Err(whole("the file is empty".to_owned()));
    }
    let mut rest: Value = serde_yaml::from_str(text).map_err(|error| vec![syntax(&error)])?;
    let places = places(text);
    let mut problems = Vec::new();
    let mut removed: Vec<FieldPath> = Vec::new();
    loop {
        match serde_path_to_error::deserialize(rest.clone()) {
            Ok(value) if problems.is_empty() => return Ok(File { value, places }),
            Ok(_) => return Err(problems),
            Err(error) => {
                let path = FieldPath::of(error.path());
                let message = suggest(&plain(&error.into_inner()));
                let done = !remove(&mut rest, &path.0);
                let path = path.before(&removed);
                problems.push(Problem { place: place(&places, &path), path: path.clone(), message });
                removed.push(path);
                if done || problems.len() >= MAX_PROBLEMS {
                    return Err(problems);
                }
            }
        }
    }
}

fn syntax(error: &serde_yaml::Error) -> Problem {
    let place = error.location().map(|place| (place.line(), place.column()));
    Problem { place, path: FieldPath::default(), message: plain(error) }
}

/// What the library says, without the place, which is told in one way for all.
fn plain(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    match error.location() {
        Some(place) => text.replace(&format!(" at line {} column {}", place.line(), place.column()), ""),
        None => text,
    }
}

/// Adds the one name that was most likely meant to a message that lists the allowed ones.
fn suggest(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(given) = quoted.next().filter(|_| message.starts_with("unknown ")) else { return message.to_owned() };
    let closest = quoted
        .map(|known| (strsim::jaro_winkler(&given.to_lowercase(), &known.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match closest {
        Some((_, known)) => format!("{message}; did you mean `{known}`?"),
        None => message.to_owned(),
    }
}

/// Takes out what stands at a path; false where that is nothing.
fn remove(value: &mut Value, path: &[Step]) -> bool {
    match (path, value) {
        ([Step::Key(key)], Value::Mapping(mapping)) => mapping.remove(key.as_str()).is_some(),
        ([Step::Index(index)], Value::Sequence(items)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        ([Step::Key(key), rest @ ..], Value::Mapping(mapping)) => {
            mapping.get_mut(key.as_str()).is_some_and(|inner| remove(inner, rest))
        }
        ([Step::Index(index), rest @ ..], Value::Sequence(items)) => {
            items.get_mut(*index).is_some_and(|inner| remove(inner, rest))
        }
        _ => false,
    }
}

/// The place of the longest part of a path that stands in the file.
fn place(places: &[(FieldPath, (usize, usize))], path: &FieldPath) -> Option<(usize, usize)> {
    (1..=path.0.len()).rev().find_map(|length| {
        let part = path.0.get(..length)?;
        places.iter().find(|(known, _)| known.0 == part).map(|(_, place)| *place)
    })
}

/// Where the walk through the file's events is.
enum Level {
    Mapping { key: Option<String> },
    Sequence { next: usize },
}

/// The line and column of every key and item.
fn places(text: &str) -> Vec<(FieldPath, (usize, usize))> {
    let mut places = Vec::new();
    let mut path = FieldPath::default();
    let mut levels: Vec<Level> = Vec::new();
    for event in Parser::new_from_str(text) {
        // What serde_yaml has read without complaint may only be read differently where nothing depends on it.
        let Ok((event, span)) = event else { break };
        match event {
            Event::Scalar(scalar, ..) => {
                let is_key = matches!(levels.last(), Some(Level::Mapping { key: None }));
                if is_key {
                    path.0.push(Step::Key(scalar.to_string()));
                    places.push((path.clone(), start(span)));
                    if let Some(Level::Mapping { key }) = levels.last_mut() {
                        *key = Some(scalar.into_owned());
                    }
                } else {
                    begin(&mut levels, &mut path, &mut places, span);
                    end(&mut levels, &mut path);
                }
            }
            Event::Alias(_) => {
                begin(&mut levels, &mut path, &mut places, span);
                end(&mut levels, &mut path);
            }
            Event::MappingStart(..) => {
                begin(&mut levels, &mut path, &mut places, span);
                levels.push(Level::Mapping { key: None });
            }
            Event::SequenceStart(..) => {
                begin(&mut levels, &mut path, &mut places, span);
                levels.push(Level::Sequence { next: 0 });
            }
            Event::MappingEnd | Event::SequenceEnd => {
                levels.pop();
                end(&mut levels, &mut path);
            }
            // Markers and comments, which stand nowhere in a path.
            _ => {}
        }
    }
    places
}

fn start(span: Span) -> (usize, usize) {
    (span.start.line(), span.start.col() + 1)
}

/// A value begins: an item of a sequence gets its place here, a field has got it with its key.
fn begin(levels: &mut [Level], path: &mut FieldPath, places: &mut Vec<(FieldPath, (usize, usize))>, span: Span) {
    if let Some(Level::Sequence { next }) = levels.last_mut() {
        path.0.push(Step::Index(*next));
        *next += 1;
        places.push((path.clone(), start(span)));
    }
}

/// A value has ended, and with it the step that led to it.
fn end(levels: &mut [Level], path: &mut FieldPath) {
    if let Some(level) = levels.last_mut() {
        path.0.pop();
        if let Level::Mapping { key } = level {
            *key = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_each_mistake_once_and_no_more_than_32() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Named {
            #[allow(dead_code, reason = "only read")]
            name: String,
        }

        let problems = |text: &str| read::<Named>(text.as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!(problems("{}").iter().map(ToString::to_string).collect::<Vec<_>>(), ["missing field `name`"]);
        let wrong: Vec<String> = (0..40).map(|position| format!("field{position}: 1\n")).collect();
        assert_eq!(problems(&wrong.concat()).len(), 32);
        let error = FileError::new(problems("{name: n, x: 1, y: 2}"));
        assert_eq!(
            error.to_string(),
            "line 1, column 11: x: unknown field `x`, expected `name`; line 1, column 17: y: unknown field `y`, \
             expected `name`"
        );
    }

    #[test]
    fn a_path_within_another_follows_it() {
        let (outer, inner) = (FieldPath::default().key("policy"), FieldPath::default().key("rules").index(0));
        assert_eq!(outer.join(&inner).to_string(), "policy.rules[0]");
    }

    #[test]
    fn only_what_is_there_is_taken_out() {
        let mut value: Value = serde_yaml::from_str("{a: [{b: 1}, 2]}").unwrap();
        let root = FieldPath::default();
        let list = root.key("a");
        for path in [&root, &root.index(0), &root.key("b"), &list.index(2), &list.index(0).key("a"), &list.key("b")] {
            assert!(!remove(&mut value, &path.0), "{path}");
        }
        for (path, rest) in [(list.index(1), "{a: [{b: 1}]}"), (list.index(0).key("b"), "{a: [{}]}"), (list, "{}")] {
            assert!(remove(&mut value, &path.0), "{path}");
            assert_eq!(value, serde_yaml::from_str::<Value>(rest).unwrap(), "{path}");
        }
    }
}
