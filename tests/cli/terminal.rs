//! What is shown on terminals of different widths.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use jiff::SignedDuration;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::json;

use crate::dump::{AGO, Dump};
use crate::folder::Folder;

/// Runs the program on a terminal of this width. Gives what is shown, line by line, with its colours.
fn run(folder: &Folder, width: u16, environment: &[(&str, &str)], arguments: &[&str]) -> Vec<String> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let terminal: OwnedFd = {
        let name = ptsname(&master, Vec::new()).unwrap();
        File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap().into()
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(arguments).current_dir(folder.path()).env_clear().env("TERM", "xterm-256color");
    command.envs(environment.iter().copied());
    command.stdin(Stdio::null()).stdout(terminal.try_clone().unwrap()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // The terminal is closed when the last that has it open is gone.
    drop((command, terminal));
    let mut shown = Vec::new();
    let mut master = File::from(master);
    let mut buffer = [0; 4096];
    // Reading ends with an error when the terminal is closed.
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        shown.extend_from_slice(&buffer[..length]);
    }
    child.wait().unwrap();
    String::from_utf8(shown).unwrap().lines().map(str::to_owned).collect()
}

/// What is left without the colours.
fn plain(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
}

fn folder() -> Folder {
    let long = "ip-10-0-0-1.eu-central-1.compute.internal";
    let ips: Vec<String> = (1..4).map(|i| format!("2001:db8:0:{i}::1")).collect();
    let old = AGO + SignedDuration::from_hours(5);
    let dump = Dump::default()
        .request("csr-x7k2p", AGO, json!({"node": long, "dns": [long], "ip": ["10.0.0.1"]}))
        .request("csr-8gb9h", old, json!({"node": long, "dns": ["kubernetes.default.svc.cluster.local"]}))
        .request("csr-46npx", AGO, json!({"node": "worker-1", "dns": ["worker-1"], "ip": ips}))
        .request(&"n".repeat(250), AGO, json!({"node": "worker-2", "dns": ["worker-2"]}))
        .node(long, &[long, "10.0.0.1"])
        .node("worker-1", &["worker-1"])
        .node("worker-2", &["worker-2", "worker-1.example.com"])
        .surroundings();
    let policy = "{apiVersion: countersign/v1, kind: ServingPolicy, rules: [{name: every-node}]}";
    Folder::with(&[("cluster.json", &dump.json()), ("policy.yaml", policy)])
}

const REVIEW: [&str; 5] = ["review", "--policy", "policy.yaml", "-f", "cluster.json"];

#[test]
fn a_review_takes_one_line_for_each_request_on_any_terminal() {
    let folder = folder();
    for width in [80, 120, 200] {
        for format in ["table", "wide"] {
            let lines = plain(&run(&folder, width, &[], &[&REVIEW[..], &["-o", format]].concat()));
            let rows: Vec<&String> = lines.iter().take_while(|line| !line.is_empty()).collect();
            assert_eq!(rows.len(), 5, "{lines:#?}");
            let longest = rows.iter().map(|row| row.chars().count()).max().unwrap();
            assert!(longest <= width.into(), "{width} {format}: {longest}\n{}", lines.join("\n"));
        }
    }
    for (width, format) in [(80, "table"), (200, "table"), (200, "wide")] {
        let lines = plain(&run(&folder, width, &[], &[&REVIEW[..], &["-o", format]].concat()));
        assert_snapshot!(format!("{format} on {width} columns"), lines.join("\n"));
    }
}

#[test]
fn an_explanation_goes_on_below_itself_where_it_is_too_long() {
    let folder = folder();
    let explain = ["explain", "--policy", "policy.yaml", "-f", "cluster.json", "csr-46npx"];
    for width in [80, 200] {
        let lines = plain(&run(&folder, width, &[], &explain));
        let longest = lines.iter().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= width.into(), "{width}: {longest}\n{}", lines.join("\n"));
    }
    let lines = plain(&run(&folder, 80, &[], &explain));
    let lines = lines.iter().filter(|line| !line.contains("  filed  "));
    assert_snapshot!("explanation on 80 columns", lines.cloned().collect::<Vec<_>>().join("\n"));
}

#[test]
fn there_are_colours_on_a_terminal_only_and_none_where_they_are_not_wanted() {
    let folder = folder();
    let coloured = run(&folder, 80, &[], &REVIEW);
    assert!(coloured[2].contains("\u{1b}[31mdeny\u{1b}[0m"), "{coloured:#?}");
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let lines = run(&folder, 80, &[environment], &REVIEW);
        assert_eq!(lines, plain(&coloured), "{environment:?}");
    }
    assert!(!folder.run(&REVIEW).stdout.contains('\u{1b}'));
}
