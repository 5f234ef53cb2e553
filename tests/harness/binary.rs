//! Finds the control plane's binary, or builds it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Names a binary that has been built already.
pub const BINARY_VARIABLE: &str = "CONTROL_PLANE_BIN";

/// How many packages go build compiles when it has none of them in its cache.
const PACKAGES: usize = 2863;
const KEPT_REMARKS: usize = 30;
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/control-plane");
const GO_MOD: &str = include_str!("../control-plane/go.mod");

/// The version of Kubernetes under test, such as `v1.37.2`.
pub fn kubernetes_version() -> Result<&'static str> {
    GO_MOD
        .lines()
        .find_map(|line| line.trim().trim_start_matches("require ").strip_prefix("k8s.io/kubernetes "))
        .context("go.mod of the control plane requires no k8s.io/kubernetes")
}

/// The control plane's binary, built first if its sources have changed. Needs the network then, so call it outside the sandbox.
pub fn locate() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(BINARY_VARIABLE) {
        return fs::canonicalize(&path).with_context(|| format!("{BINARY_VARIABLE}={}", path.display()));
    }
    let cache = target_directory()?.join("control-plane");
    let directory = cache.join(format!("{}-{:016x}", kubernetes_version()?, hash_of_sources()?));
    let binary = directory.join("control-plane");
    if binary.exists() {
        return Ok(binary);
    }
    fs::create_dir_all(&cache)?;
    // Two programs that start together would otherwise both build for minutes.
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    if !binary.exists() {
        build(&cache.join("building"))?;
        remove_outdated(&cache)?;
        fs::create_dir_all(&directory)?;
        fs::rename(cache.join("building"), &binary)?;
    }
    Ok(binary)
}

/// Cargo marks its target directory; it may be anywhere, and programs are run from inside it.
fn target_directory() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let marked = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists());
    Ok(marked.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), Path::to_path_buf))
}

fn hash_of_sources() -> Result<u64> {
    let mut files: Vec<PathBuf> = fs::read_dir(SOURCES)
        .with_context(|| {
            format!("the control plane's sources are not in {SOURCES}; {BINARY_VARIABLE} can name a binary instead")
        })?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|path| {
        path.extension().is_some_and(|extension| ["go", "mod", "sum"].iter().any(|known| extension == *known))
    });
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.file_name().hash(&mut hasher);
        fs::read(&file)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn remove_outdated(cache: &Path) -> Result<()> {
    let prefix = format!("{}-", kubernetes_version()?);
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn build(output: &Path) -> Result<()> {
    let version = kubernetes_version()?;
    let mut parts = version.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    let link =
        format!("-s -w -X {package}.gitVersion={version} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}");
    let child = Command::new("go")
        .args(["build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", &link, "-o"])
        .arg(output)
        .arg(".")
        .current_dir(SOURCES)
        // Nothing in it needs C: so it runs on any Linux of this architecture, and needs no compiler.
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "the test control plane is built with Go, and there is no `go` here: install Go, or set {BINARY_VARIABLE} to a binary built elsewhere"
            )
        }
        Err(error) => return Err(error).context("run go build"),
    };
    eprintln!("building the test control plane (Kubernetes {version}): about 8 minutes on two cores, once");
    let output = child.stderr.take().context("go build has no stderr")?;
    let remarks = show_progress(BufReader::new(output));
    if !child.wait()?.success() {
        bail!("go build of the test control plane failed:\n{}", remarks.into_iter().collect::<Vec<_>>().join("\n"));
    }
    Ok(())
}

/// Shows what is being downloaded or compiled, and gives the last of the lines that are not packages: errors.
fn show_progress(lines: impl BufRead) -> VecDeque<String> {
    let (started, terminal) = (Instant::now(), std::io::stderr().is_terminal());
    let pause = if terminal { Duration::from_millis(100) } else { Duration::from_secs(20) };
    let (mut packages, mut shown) = (0, started);
    let mut remarks = VecDeque::new();
    for line in lines.lines().map_while(Result::ok) {
        if shown.elapsed() >= pause {
            shown = Instant::now();
            let seconds = started.elapsed().as_secs();
            let (start, end) = if terminal { ("\r\x1b[K", "") } else { ("", "\n") };
            eprint!(
                "{start}  {}:{:02}, {packages} of at most {PACKAGES} packages: {line}{end}",
                seconds / 60,
                seconds % 60
            );
            // A progress line that cannot be shown is no reason to stop.
            let _ = std::io::stderr().flush();
        }
        if line.contains([' ', ':']) {
            remarks.push_back(line);
            if remarks.len() > KEPT_REMARKS {
                remarks.pop_front();
            }
        } else {
            packages += 1;
        }
    }
    if terminal {
        eprint!("\r\x1b[K");
    }
    remarks
}
