//! Child processes with a log file, which do not outlive their owner.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::wait;

const SHOWN_LINES: usize = 25;

/// A child process; killed when dropped. (When the program itself is killed, the sandbox's PID namespace takes care of it.)
pub struct Process {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts a program with its output in `log`, and with no environment but PATH, HOME and `environment`: a proxy or a kubeconfig
    /// of the machine must not change what is tested.
    pub fn start(
        name: &str,
        program: &Path,
        arguments: Vec<OsString>,
        environment: Vec<(OsString, OsString)>,
        log: PathBuf,
    ) -> Result<Self> {
        let child = spawn(program, &arguments, &environment, &log)?;
        tracing::debug!(name, pid = child.id(), "started");
        Ok(Self { name: name.to_owned(), program: program.to_owned(), arguments, environment, log, child })
    }

    /// The process's number inside the sandbox.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The file with its output, of all its lives.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("send {signal:?} to {}", self.name))
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let (name, child) = (&self.name, &mut self.child);
        let ended = wait::until(&format!("{name} to end after SIGTERM"), limit, async || Ok(child.try_wait()?)).await;
        ended.map_err(|error| self.with_log(&error))
    }

    /// SIGSTOP: to everyone else it looks like a network that swallows everything.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Starts it again with the same arguments, after having killed it if it runs.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.child = spawn(&self.program, &self.arguments, &self.environment, &self.log)?;
        Ok(())
    }

    /// Awaits something that depends on this process: fails as soon as the process has ended, and shows the end of its log.
    pub async fn while_running<T>(&mut self, awaited: impl Future<Output = Result<T>>) -> Result<T> {
        let (name, child) = (&self.name, &mut self.child);
        let ended = wait::until("a process to end", Duration::MAX, async || Ok(child.try_wait()?));
        let outcome = tokio::select! {
            outcome = awaited => outcome,
            status = ended => status.and_then(|status| bail!("{name} ended: {status}")),
        };
        outcome.map_err(|error| self.with_log(&error))
    }

    /// Adds the end of the log to an error.
    pub fn with_log(&self, error: &anyhow::Error) -> anyhow::Error {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default().join("\n");
        anyhow!("{error:#}\nthe last lines of {} are:\n{tail}", self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell otherwise.
        let _ = self.kill();
    }
}

fn spawn(program: &Path, arguments: &[OsString], environment: &[(OsString, OsString)], log: &Path) -> Result<Child> {
    let log = File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
    let kept = ["PATH", "HOME"].into_iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(kept)
        .envs(environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {}", program.display()))
}

/// Arguments of mixed kinds as one list.
pub fn arguments<I: IntoIterator>(list: I) -> Vec<OsString>
where
    I::Item: AsRef<OsStr>,
{
    list.into_iter().map(|argument| argument.as_ref().to_owned()).collect()
}
