//! What is said in two places says the same in both.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value as Json;
use serde_yaml::Value;

use super::read;
use crate::harness::go::Program;
use crate::harness::helm::chart;

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).unwrap()
}

#[test]
fn the_version_is_cargos_everywhere() {
    let chart = yaml("charts/countersign/Chart.yaml");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_default_policy_is_the_one_in_policies() {
    assert_eq!(yaml("charts/countersign/values.yaml")["policy"], yaml("policies/default.yaml"));
}

/// Run with UPDATE_CHART=1 to write them anew.
#[test]
fn the_schema_of_values_has_those_of_policy_and_inventory_in_it() {
    let path = chart().join("values.schema.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut schema: Json = serde_json::from_str(&text).unwrap();
    for (name, file) in [("policy", "serving-policy.schema.json"), ("inventory", "node-inventory.schema.json")] {
        let mut embedded: Json = serde_json::from_str(&read(format!("policies/{file}"))).unwrap();
        let fields = embedded.as_object_mut().unwrap();
        fields.remove("$schema");
        fields.insert("$id".to_owned(), file.into());
        schema["$defs"][name] = embedded;
    }
    let expected = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
    if std::env::var_os("UPDATE_CHART").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    assert_eq!(schema, serde_json::from_str::<Json>(&std::fs::read_to_string(&path).unwrap()).unwrap());
}

/// Every value with the comment that begins with `# --` above it, in the order of the file.
fn documented(text: &str) -> Vec<(String, String, String)> {
    let values: Value = serde_yaml::from_str(text).unwrap();
    let mut rows = Vec::new();
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut comment = None;
    for line in text.lines() {
        let (indent, content) = (line.len() - line.trim_start().len(), line.trim_start());
        if let Some(text) = content.strip_prefix("# -- ") {
            comment = Some(text.to_owned());
            continue;
        }
        let Some((key, _)) = content.split_once(':').filter(|_| !content.starts_with(['#', '-', '{'])) else {
            continue;
        };
        parents.retain(|(depth, _)| *depth < indent);
        parents.push((indent, key.to_owned()));
        let names = parents.iter().map(|(_, name)| name.as_str());
        let path = names.clone().collect::<Vec<_>>().join(".");
        if let Some(text) = comment.take() {
            let value = names.fold(&values, |value, name| &value[name]);
            assert!(!value.is_null(), "{path} is not in the file");
            rows.push((path, serde_json::to_string(value).unwrap(), text));
        }
    }
    rows
}

/// The paths of everything in a file of values that has no values below it, save below those that are documented as a whole.
fn leaves(value: &Value, path: &str, known: &[String], found: &mut Vec<String>) {
    if known.iter().any(|it| it == path) {
        return found.push(path.to_owned());
    }
    match value {
        Value::Mapping(map) if !map.is_empty() => {
            for (key, value) in map {
                let key = key.as_str().unwrap();
                leaves(value, &if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }, known, found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

/// Run with UPDATE_CHART=1 to write it anew.
#[test]
fn the_table_of_values_is_that_of_the_file() {
    const LONGEST: usize = 60;
    let rows = documented(&read("charts/countersign/values.yaml"));
    let known: Vec<String> = rows.iter().map(|(path, ..)| path.clone()).collect();
    let mut found = Vec::new();
    leaves(&yaml("charts/countersign/values.yaml"), "", &known, &mut found);
    assert_eq!(found, known, "every value has one comment that begins with `# --`");

    let mut table = String::from("| value | default | what it is |\n|---|---|---|\n");
    for (path, default, text) in rows {
        let default = if default.len() > LONGEST { "see values.yaml".to_owned() } else { format!("`{default}`") };
        writeln!(table, "| `{path}` | {default} | {text} |").unwrap();
    }
    let (begin, end) = ("<!-- values: written by a test from values.yaml -->\n", "<!-- end of values -->");
    let readme = read("charts/countersign/README.md");
    let (before, rest) = readme.split_once(begin).expect("the mark before the table");
    let (_, after) = rest.split_once(end).expect("the mark after the table");
    let expected = format!("{before}{begin}{table}{end}{after}");
    if std::env::var_os("UPDATE_CHART").is_some() {
        std::fs::write(chart().join("README.md"), &expected).unwrap();
    }
    assert_eq!(read("charts/countersign/README.md"), expected);
}

fn check(schema: &Json, value: &Value, path: &str) {
    let (Some(properties), Value::Mapping(map)) = (schema["properties"].as_object(), value) else { return };
    assert_eq!(schema["additionalProperties"], false, "{path}");
    for (key, value) in map {
        let key = key.as_str().unwrap();
        let schema = properties.get(key).unwrap_or_else(|| panic!("{path}.{key} is not in the schema"));
        check(schema, value, &format!("{path}.{key}"));
    }
    let optional = ["claims", "global"];
    for key in properties.keys().filter(|key| !optional.contains(&key.as_str())) {
        assert!(map.contains_key(key.as_str()), "{path}.{key} is in the schema alone");
    }
}

#[test]
fn every_value_has_its_place_in_the_schema_and_no_other_is_taken() {
    let schema: Json = serde_json::from_str(&read("charts/countersign/values.schema.json")).unwrap();
    check(&schema, &yaml("charts/countersign/values.yaml"), "");
}

#[test]
fn the_versions_of_kubernetes_in_the_readme_are_those_that_make_matrix_takes() {
    let folder = "tests/control-plane";
    let files = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap();
    let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut tested: Vec<String> = names
        .filter(|name| Path::new(name).extension().is_some_and(|it| it == "mod"))
        .map(|name| Program::required(folder, &name, "k8s.io/kubernetes").unwrap().trim_start_matches('v').to_owned())
        .collect();
    tested.sort();
    let readme = read("README.md");
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| 1.")?.split_once(' '));
    let told: Vec<String> = rows.map(|(rest, _)| format!("1.{rest}")).collect();
    assert_eq!(told, tested);
}
