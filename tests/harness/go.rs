//! Programs written in Go: built once from pinned sources, and kept in cargo's target directory.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

const KEPT_REMARKS: usize = 30;

/// A variable, and what it names.
pub type Located = (&'static str, PathBuf);

/// A program, and how it is built.
pub struct Program {
    /// The name of its file, and of its folder in the target directory.
    pub name: &'static str,
    /// As people call it.
    pub title: String,
    /// Names a binary that has been built already.
    pub variable: &'static str,
    /// The folder of its module, below this repository's root.
    pub module: &'static str,
    /// The module's `go.mod`, or another one in its place.
    pub module_file: String,
    /// The package to build.
    pub package: &'static str,
    /// What tells one build of it from another for people: its version.
    pub version: String,
    /// Build tags.
    pub tags: &'static str,
    /// Variables to be set by the linker, as `package.name=value`.
    pub variables: Vec<String>,
    /// How many packages go build compiles when it has none of them in its cache.
    pub packages: usize,
    /// How long that takes on two cores.
    pub minutes: u8,
}

impl Program {
    /// What names its binary, and where that is; see [`Self::locate`].
    pub fn located(&self) -> Result<Located> {
        Ok((self.variable, self.locate()?))
    }

    /// Its binary, built first if its sources have changed. Needs the network then, so call it outside the sandbox.
    pub fn locate(&self) -> Result<PathBuf> {
        if let Some(path) = std::env::var_os(self.variable) {
            return fs::canonicalize(&path).with_context(|| format!("{}={}", self.variable, path.display()));
        }
        let cache = target_directory()?.join(self.name);
        let directory = cache.join(format!("{}-{:016x}", self.version, self.hash_of_sources()?));
        let binary = directory.join(self.name);
        if binary.exists() {
            return Ok(binary);
        }
        fs::create_dir_all(&cache)?;
        // Two programs that start together would otherwise both build for minutes.
        let lock = File::create(cache.join("lock"))?;
        lock.lock()?;
        if !binary.exists() {
            self.build(&cache.join("building"))?;
            remove_outdated(&cache, &format!("{}-", self.version))?;
            fs::create_dir_all(&directory)?;
            fs::rename(cache.join("building"), &binary)?;
        }
        Ok(binary)
    }

    fn sources(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(self.module)
    }

    /// What the module file requires of a module.
    pub fn required(module: &str, module_file: &str, wanted: &str) -> Result<String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(module).join(module_file);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let found = text.lines().find_map(|line| {
            line.trim().trim_start_matches("require ").strip_prefix(wanted)?.strip_prefix(' ')?.split(' ').next()
        });
        Ok(found.with_context(|| format!("{} requires no {wanted}", path.display()))?.to_owned())
    }

    fn hash_of_sources(&self) -> Result<u64> {
        let sources = self.sources();
        let mut files: Vec<PathBuf> = fs::read_dir(&sources)
            .with_context(|| {
                let variable = self.variable;
                format!(
                    "{}'s sources are not in {}; {variable} can name a binary instead",
                    self.title,
                    sources.display()
                )
            })?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        let module_file = sources.join(&self.module_file);
        let sums = module_file.with_extension("sum");
        files.retain(|path| path.extension().is_some_and(|it| it == "go") || *path == module_file || *path == sums);
        files.sort();
        let mut hasher = DefaultHasher::new();
        for file in files {
            file.file_name().hash(&mut hasher);
            fs::read(&file)?.hash(&mut hasher);
        }
        Ok(hasher.finish())
    }

    fn build(&self, output: &Path) -> Result<()> {
        let mut link = vec!["-s", "-w"];
        link.extend(self.variables.iter().flat_map(|variable| ["-X", variable]));
        let mut child = spawn(
            Command::new("go")
                .args(["build", "-v", "-trimpath", "-buildvcs=false", "-tags", self.tags])
                .arg(format!("-modfile={}", self.module_file))
                .args(["-ldflags", &link.join(" ")])
                .arg("-o")
                .arg(output)
                .arg(self.package)
                .current_dir(self.sources())
                // Nothing in it needs C: so it runs on any Linux of this architecture, and needs no compiler.
                .env("CGO_ENABLED", "0")
                .stderr(Stdio::piped()),
            &self.title,
            self.variable,
        )?;
        eprintln!("building {}: about {} minutes on two cores, once", self.title, self.minutes);
        let output = child.stderr.take().context("go build has no stderr")?;
        let remarks = show_progress(BufReader::new(output), self.packages);
        if !child.wait()?.success() {
            let remarks = remarks.into_iter().collect::<Vec<_>>().join("\n");
            bail!("go build of {} failed:\n{remarks}", self.title);
        }
        Ok(())
    }
}

/// The files of a module, of which nothing is compiled.
pub struct Files {
    /// As people call them.
    pub title: &'static str,
    /// Names a folder that has them already.
    pub variable: &'static str,
    /// The folder of a module that requires the one with the files, below this repository's root.
    pub module: &'static str,
    /// The path of the module with the files.
    pub path: &'static str,
    /// Their folder in that module.
    pub folder: &'static str,
}

impl Files {
    /// What names their folder, and where that is. Needs the network the first time, so call it outside the sandbox.
    pub fn located(&self) -> Result<Located> {
        if let Some(path) = std::env::var_os(self.variable) {
            return Ok((self.variable, path.into()));
        }
        let mut download = Command::new("go");
        download.args(["mod", "download", "-json", self.path]);
        download.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(self.module));
        let output = spawn(download.stdout(Stdio::piped()), self.title, self.variable)?.wait_with_output()?;
        // Where it fails, that stands in its answer too.
        let answer: Downloaded = serde_json::from_slice(&output.stdout).context("read what go mod download says")?;
        let directory = answer.directory.filter(|_| output.status.success());
        let directory =
            directory.with_context(|| format!("get {}: {}", self.title, answer.error.unwrap_or_default()))?;
        Ok((self.variable, directory.join(self.folder)))
    }
}

/// What `go mod download -json` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Downloaded {
    #[serde(rename = "Dir")]
    directory: Option<PathBuf>,
    error: Option<String>,
}

fn spawn(command: &mut Command, title: &str, variable: &str) -> Result<Child> {
    match command.stdin(Stdio::null()).spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "{title} comes by Go, and there is no `go` here: install Go, or have {variable} name what was made elsewhere"
        ),
        child => child.context("run go"),
    }
}

/// Cargo marks its target directory; it may be anywhere, and programs are run from inside it.
fn target_directory() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let marked = program.ancestors().find(|directory| directory.join("CACHEDIR.TAG").exists());
    Ok(marked.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), Path::to_path_buf))
}

fn remove_outdated(cache: &Path, prefix: &str) -> Result<()> {
    for entry in fs::read_dir(cache)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Shows what is being downloaded or compiled, and gives the last of the lines that are not packages: errors.
fn show_progress(lines: impl BufRead, of: usize) -> VecDeque<String> {
    let (started, terminal) = (Instant::now(), std::io::stderr().is_terminal());
    let pause = if terminal { Duration::from_millis(100) } else { Duration::from_secs(20) };
    let (mut packages, mut shown) = (0, started);
    let mut remarks = VecDeque::new();
    for line in lines.lines().map_while(Result::ok) {
        if shown.elapsed() >= pause {
            shown = Instant::now();
            let seconds = started.elapsed().as_secs();
            let (start, end) = if terminal { ("\r\x1b[K", "") } else { ("", "\n") };
            eprint!("{start}  {}:{:02}, {packages} of at most {of} packages: {line}{end}", seconds / 60, seconds % 60);
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
