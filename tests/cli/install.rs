//! `make install`.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Where the program is installed, as a package would have it.
fn installed() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let output = Command::new("make")
        .args(["install", "PREFIX=/usr"])
        .arg(format!("DESTDIR={}", root.path().display()))
        .arg(format!("PROGRAM={}", env!("CARGO_BIN_EXE_countersign")))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    root
}

fn run(program: &Path, arguments: &[&str]) -> (Output, String) {
    let output = Command::new(program).args(arguments).env_clear().output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output, said)
}

#[test]
fn installs_the_program_the_plugin_and_completions() {
    let root = installed();
    let usr = root.path().join("usr");
    let (output, said) = run(&usr.join("bin/countersign"), &["--version"]);
    assert!(output.status.success() && said == format!("countersign {}\n", env!("CARGO_PKG_VERSION")), "{said}");
    let (output, said) = run(&usr.join("bin/kubectl-countersign"), &["explain", "--help"]);
    assert!(output.status.success() && said.contains("Usage: kubectl countersign explain"), "{said}");
    let (output, said) = run(&usr.join("bin/kubectl_complete-countersign"), &["policy", "va"]);
    assert!(output.status.success() && said.starts_with("validate\t") && said.ends_with("\n:4\n"), "{said}");
    // They lead to the program wherever it is moved to.
    assert_eq!(std::fs::read_link(usr.join("bin/kubectl-countersign")).unwrap(), Path::new("countersign"));
    for (script, expected) in [
        ("bash-completion/completions/countersign", "complete -F _countersign"),
        ("zsh/site-functions/_countersign", "#compdef countersign"),
        ("fish/vendor_completions.d/countersign.fish", "complete -c countersign"),
    ] {
        let text = std::fs::read_to_string(usr.join("share").join(script)).unwrap();
        assert!(text.contains(expected) && text.contains("explain"), "{script}");
    }
}

/// The scripts are what their shell understands, where the shell is there to ask.
#[test]
fn bash_understands_its_completions() {
    let root = installed();
    let script = root.path().join("usr/share/bash-completion/completions/countersign");
    let complete = format!(
        "source {}; COMP_WORDS=(countersign review --on); COMP_CWORD=2; _countersign countersign --on review; \
         echo \"${{COMPREPLY[*]}}\"",
        script.display()
    );
    let (output, said) = run(Path::new("/bin/bash"), &["--norc", "-c", &complete]);
    assert!(output.status.success() && said == "--only\n", "{said}");
}
